//! Output files appear under their name only when they are complete.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{At, CliError};

/// A file in the making: `.NAME.PID.part` beside its destination. Dropped without [`Self::finish`], it is removed.
pub struct PendingFile {
    part: PathBuf,
    destination: PathBuf,
}

impl PendingFile {
    /// # Errors
    /// If the destination is a folder, or lies in none.
    pub fn try_new(destination: &Path) -> Result<Self, CliError> {
        if destination.is_dir() {
            return Err(CliError::new(format!(
                "{}: is a folder, expected a file name",
                destination.display()
            )));
        }
        let name = destination
            .file_name()
            .ok_or_else(|| CliError::new(format!("{}: is not a file name", destination.display())))?;
        let folder = match destination.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        if !folder.is_dir() {
            return Err(CliError::new(format!("{}: no such folder to write into", folder.display())));
        }
        let part = folder.join(format!(".{}.{}.part", name.to_string_lossy(), std::process::id()));
        Ok(Self { part, destination: destination.to_path_buf() })
    }

    /// Where to write until it is complete.
    pub fn path(&self) -> &Path {
        &self.part
    }

    /// Writes the whole file, and gives it its name as [`Self::finish`] does.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(self, bytes: &[u8]) -> Result<(), CliError> {
        std::fs::write(&self.part, bytes).at(self.destination.display())?;
        self.finish()
    }

    /// Gives the complete file its name once it is on the disk, replacing one that was there: a crash leaves the old
    /// file or the new one.
    ///
    /// # Errors
    /// If it cannot be written to the disk or renamed.
    pub fn finish(self) -> Result<(), CliError> {
        let synced = std::fs::File::open(&self.part).and_then(|file| file.sync_all());
        synced.and_then(|()| std::fs::rename(&self.part, &self.destination)).at(self.destination.display())
    }
}

impl Drop for PendingFile {
    fn drop(&mut self) {
        // After `finish` there is nothing left to remove, and a failure here has nobody to be told to.
        let _ = std::fs::remove_file(&self.part);
    }
}

/// # Errors
/// If both names lead to one file.
pub fn refuse_same_file(input: &Path, output: &Path) -> Result<(), CliError> {
    let same = match (input.canonicalize(), output.canonicalize()) {
        (Ok(input), Ok(output)) => input == output,
        _ => false,
    };
    if same {
        return Err(CliError::new(format!(
            "{}: input and output are the same file; give the output another name",
            output.display()
        )));
    }
    Ok(())
}

/// Prints lines to stdout. A reader that has had enough (`| head`) is no error.
///
/// # Errors
/// If stdout cannot be written for another reason.
pub fn print(text: &str) -> Result<(), CliError> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error).at("stdout"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_finished_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        PendingFile::try_new(&path).unwrap().write(b"old").unwrap();
        let pending = PendingFile::try_new(&path).unwrap();
        std::fs::write(pending.path(), b"half of the n").unwrap();
        drop(pending);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        PendingFile::try_new(&path).unwrap().write(b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
