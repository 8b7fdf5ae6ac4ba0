use super::*;

#[test]
fn searches_named_folders_before_all_others() {
    let variable = OsString::from("/a::/b:/plugins");
    let found = folders(Some(&variable), Some("/plugins".into()), Some("/home/user/data".into()));
    let expected =
        ["/a", "/b", "/plugins", "/home/user/data/h5z-sae", "/usr/local/share/h5z-sae", "/usr/share/h5z-sae"];
    assert_eq!(found, expected.map(PathBuf::from));
}

#[test]
fn searches_system_folders_where_nothing_is_set() {
    let found = folders(None, None, None);
    assert_eq!(found, ["/usr/local/share/h5z-sae", "/usr/share/h5z-sae"].map(PathBuf::from));
}

#[test]
fn names_id_places_and_remedy_of_a_missing_model() {
    let error = find(ModelId(0xfedc_ba98_7654_3210)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MissingModel);
    for part in
        ["model fedcba9876543210 was not found", "registered", "built-in", "/usr/share/h5z-sae/", "Remedy"]
    {
        assert!(error.message().contains(part), "{part:?} is missing in {error}");
    }
}

#[test]
fn names_the_file_that_cannot_be_read() {
    let error = load(Path::new("/no/such/model.sae")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::System);
    assert!(error.message().contains("model file /no/such/model.sae"), "{error}");
}
