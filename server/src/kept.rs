//! Small secret files that outlive the process: readable by their owner only, and written whole
//! or not at all, even when two servers start at once.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use uuid::Uuid;
use zeroize::Zeroizing;

/// The content of `folder/name`, which `make` supplies the first time. `is_good` may refuse an
/// old content, which is then replaced.
///
/// # Errors
/// What the system says about the folder or the file, or what `make` says.
pub fn keep<E: From<io::Error>>(
    folder: &Path,
    name: &str,
    is_good: impl Fn(&[u8]) -> bool,
    make: impl FnOnce() -> Result<Zeroizing<Vec<u8>>, E>,
) -> Result<Zeroizing<Vec<u8>>, E> {
    let path = folder.join(name);
    let old = read(&path)?;
    if let Some(old) = old.as_ref().filter(|old| is_good(old)) {
        return Ok(old.clone());
    }
    let new = make()?;
    create_folder(folder)?;
    let draft = folder.join(format!(".{name}.{}", Uuid::new_v4()));
    write(&draft, &new)?;
    let placed = if old.is_some() {
        fs::rename(&draft, &path)
    } else {
        // Unlike a rename, a link never replaces what another server wrote a moment ago.
        fs::hard_link(&draft, &path).and_then(|()| fs::remove_file(&draft))
    };
    match placed {
        Ok(()) => Ok(new),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(&draft)?;
            Ok(read(&path)?.unwrap_or(new))
        }
        // A file system without links.
        Err(_) => {
            fs::rename(&draft, &path)?;
            Ok(new)
        }
    }
}

fn read(path: &Path) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    match fs::read(path) {
        Ok(content) => {
            make_private(path)?;
            Ok(Some(Zeroizing::new(content)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn create_folder(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file: File = options.open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(unix)]
fn make_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(path)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn make_private(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep_text(folder: &Path, text: &str) -> String {
        let make = || io::Result::Ok(Zeroizing::new(text.into()));
        let kept = keep(folder, "file", |old| old != b"stale", make).unwrap();
        String::from_utf8(kept.to_vec()).unwrap()
    }

    #[test]
    fn the_first_content_stays_until_it_is_stale() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("deep/state");
        assert_eq!(keep_text(&state, "first"), "first");
        assert_eq!(keep_text(&state, "second"), "first");
        fs::write(state.join("file"), "stale").unwrap();
        assert_eq!(keep_text(&state, "third"), "third");
        assert_eq!(keep_text(&state, "fourth"), "third");
        assert_eq!(fs::read_dir(&state).unwrap().count(), 1);
    }

    #[test]
    fn servers_that_start_at_once_agree() {
        let folder = tempfile::tempdir().unwrap();
        let kept: Vec<String> = std::thread::scope(|scope| {
            let threads = ["a", "b", "c", "d"].map(|text| {
                let path = folder.path();
                scope.spawn(move || keep_text(path, text))
            });
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(kept.iter().all(|text| *text == kept[0]), "{kept:?}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        keep_text(&state, "secret");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let file = state.join("file");
        assert_eq!((mode(&state), mode(&file)), (0o700, 0o600));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        keep_text(&state, "again");
        assert_eq!(mode(&file), 0o600);
    }
}
