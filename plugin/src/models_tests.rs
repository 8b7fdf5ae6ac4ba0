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
    let error = read_file(Path::new("/no/such/model.sae")).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::System);
    assert!(error.message().contains("model file /no/such/model.sae"), "{error}");
}

/// A sparse file: nothing of it is stored, and nothing of it is read.
#[test]
fn rejects_a_file_that_is_too_large_by_its_size() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.sae");
    File::create(&path).unwrap().set_len(MAX_FILE_BYTES + 1).unwrap();
    let error = read_file(&path).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    for part in ["large.sae: it has 536870913 bytes", "expected 536870912 at most"] {
        assert!(error.message().contains(part), "{part:?} is missing in {error}");
    }
}

/// A device that never ends has no size.
#[test]
fn reads_no_further_than_the_limit() {
    let error = read_capped(Path::new("/dev/zero"), 1000).unwrap_err();
    assert_eq!(error, (ErrorKind::LimitExceeded, "it has more bytes: expected 1000 at most".to_string()));
}
