//! Where received images are saved: inside one folder, under a harmless name, never over another
//! file.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Characters of a sender's file name that are kept.
const NAME_CHARS: usize = 80;
/// Names tried for one image before giving up.
const NAMES: u32 = 10_000;
/// Names that some systems keep for devices, whatever comes behind the dot.
const DEVICE_NAMES: &[&str] = &["con", "prn", "aux", "nul", "com", "lpt", "conin$", "conout$"];

/// A folder for received images; made when the first one comes.
#[derive(Debug, Clone)]
pub struct Downloads {
    folder: PathBuf,
}

impl Downloads {
    /// Saves into `folder`, or into a new folder of its own below the system's temporary one.
    #[must_use]
    pub fn new(folder: Option<PathBuf>) -> Self {
        let fresh =
            || std::env::temp_dir().join(format!("private-meet-{}", uuid::Uuid::new_v4().simple()));
        Self { folder: folder.unwrap_or_else(fresh) }
    }

    /// Writes an image and says where. `name` is the sender's and not trusted; the file's ending
    /// follows from `mime`.
    ///
    /// # Errors
    /// What the file system says.
    pub fn save(&self, name: &str, mime: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        make_private_folder(&self.folder)?;
        let (stem, ending) = (harmless_stem(name), ending(mime));
        let (mut file, path) = self.create(&stem, ending)?;
        if let Err(error) = file.write_all(bytes) {
            // Half an image helps nobody.
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(path)
    }

    /// A file that did not exist before.
    fn create(&self, stem: &str, ending: &str) -> io::Result<(File, PathBuf)> {
        for number in 0..NAMES {
            let name = match number {
                0 => format!("{stem}.{ending}"),
                number => format!("{stem}-{number}.{ending}"),
            };
            let path = self.folder.join(name);
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
                Ok(file) => return Ok((file, path)),
            }
        }
        Err(io::Error::new(io::ErrorKind::AlreadyExists, "too many images of the same name"))
    }
}

fn make_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn ending(mime: &str) -> &'static str {
    match mime {
        "image/png" => "png",
        "image/jpeg" => "jpg",
        "image/gif" => "gif",
        "image/webp" => "webp",
        _ => "bin",
    }
}

/// A file name without its ending in which nothing means anything to a file system or a shell.
fn harmless_stem(name: &str) -> String {
    let file = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    let kept = stem.chars().take(NAME_CHARS);
    let stem: String =
        kept.map(|c| if c.is_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' }).collect();
    let stem = stem.trim_matches('_');
    let lower = stem.to_lowercase();
    let is_device = DEVICE_NAMES
        .iter()
        .any(|device| lower.strip_prefix(device).is_some_and(|rest| rest.len() <= 1));
    match stem {
        "" => "image".to_owned(),
        stem if is_device || stem.starts_with('-') => format!("image_{stem}"),
        stem => stem.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_outside_the_folder_or_means_something() {
        for (name, stem) in [
            ("cat.png", "cat"),
            ("Räume im Süden 2.jpeg", "Räume_im_Süden_2"),
            ("../../etc/passwd", "passwd"),
            ("..\\..\\boot.ini", "boot"),
            ("/", "image"),
            ("..", "image"),
            (".", "image"),
            ("", "image"),
            (".bashrc", "image"),
            ("a\0b\n.png", "a_b"),
            ("-rf.png", "image_-rf"),
            ("CON.png", "image_CON"),
            ("lpt1", "image_lpt1"),
            ("console.png", "console"),
            ("$(reboot).gif", "reboot"),
        ] {
            assert_eq!(harmless_stem(name), stem, "{name:?}");
        }
        assert_eq!(harmless_stem(&"x".repeat(5_000)).len(), NAME_CHARS);
    }

    #[test]
    fn an_image_never_replaces_another_file() {
        let folder = tempfile::tempdir().unwrap();
        let downloads = Downloads::new(Some(folder.path().join("new/one")));
        let first = downloads.save("cat.png", "image/png", b"first").unwrap();
        let second = downloads.save("../cat.exe", "image/png", b"second").unwrap();
        assert_eq!(fs::read(&first).unwrap(), b"first");
        assert_eq!(fs::read(&second).unwrap(), b"second");
        assert_eq!(first.file_name().unwrap(), "cat.png");
        assert_eq!(second.file_name().unwrap(), "cat-1.png");
        assert_eq!(first.parent(), second.parent());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_planted_in_the_folder_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().join("outside");
        let inside = folder.path().join("downloads");
        fs::create_dir(&inside).unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("cat.png")).unwrap();
        let path = Downloads::new(Some(inside)).save("cat.png", "image/png", b"cat").unwrap();
        assert_eq!(path.file_name().unwrap(), "cat-1.png");
        assert!(!outside.exists());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let downloads = Downloads::new(Some(file.path().join("below a file")));
        assert!(downloads.save("cat.png", "image/png", b"cat").is_err());
    }
}
