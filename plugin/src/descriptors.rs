//! HDF5 files that this process has descriptors of, as Linux lists them in `/proc/self/fd`.
//!
//! Looking at them opens none: to close a file once more than others have opened it would drop the POSIX locks that
//! another library in this process may hold on it.

use std::collections::HashSet;
use std::convert::Infallible;
use std::fs::{Metadata, metadata, read_dir, read_link};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::signature::is_hdf5;

/// The folder of links, named by descriptor.
const FOLDER: &str = "/proc/self/fd";

/// Paths of regular files that HDF5 could open, each once. Empty where the system has no such list.
pub(crate) fn hdf5_files() -> Vec<PathBuf> {
    let mut seen = HashSet::new();
    let entries = read_dir(FOLDER).into_iter().flatten().flatten();
    let found = entries.filter_map(|entry| {
        let descriptor = entry.file_name().to_str()?.parse().ok()?;
        let file = metadata(entry.path()).ok().filter(Metadata::is_file)?;
        let path = read_link(entry.path()).ok()?;
        // What lies at the path now may be another file, or a pipe.
        let same = metadata(&path).is_ok_and(|found| identity(&found) == identity(&file));
        let Ok(is_hdf5) = is_hdf5(file.len(), |at| read_at(descriptor, at));
        (same && is_hdf5 && seen.insert(identity(&file))).then_some(path)
    });
    found.collect()
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// Eight bytes that no signature begins with where they cannot be read.
fn read_at(descriptor: i32, at: u64) -> Result<[u8; 8], Infallible> {
    let mut bytes = [0u8; 8];
    let Ok(at) = libc::off_t::try_from(at) else { return Ok(bytes) };
    // SAFETY: any number may be given as a descriptor, and the buffer has the length that is said. Does not move the
    // position of whoever owns the descriptor.
    let n_read = unsafe { libc::pread(descriptor, bytes.as_mut_ptr().cast(), bytes.len(), at) };
    Ok(if n_read == bytes.len() as isize { bytes } else { [0; 8] })
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::signature::SIGNATURE;

    #[test]
    fn finds_open_files_with_and_without_user_block() {
        let folder = tempfile::tempdir().unwrap();
        let mut content = vec![0u8; 1024];
        content.extend(SIGNATURE);
        let paths = ["plain.h5", "block.h5", "text"].map(|name| folder.path().join(name));
        std::fs::write(&paths[0], SIGNATURE).unwrap();
        std::fs::write(&paths[1], content).unwrap();
        std::fs::write(&paths[2], "neither").unwrap();
        let held: Vec<File> = paths.iter().chain(&paths).map(|path| File::open(path).unwrap()).collect();
        let count = |path: &PathBuf| hdf5_files().iter().filter(|found| *found == path).count();
        assert_eq!([count(&paths[0]), count(&paths[1]), count(&paths[2])], [1, 1, 0]);
        drop(held);
        assert_eq!(count(&paths[0]), 0);
    }

    #[test]
    fn leaves_out_what_has_taken_the_name_of_an_open_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.h5");
        std::fs::write(&path, SIGNATURE).unwrap();
        let _held = File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, SIGNATURE).unwrap();
        assert!(!hdf5_files().contains(&path));
    }
}
