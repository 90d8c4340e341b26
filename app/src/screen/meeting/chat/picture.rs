//! Pictures from files and the clipboard, and their small versions for the log.

use std::fs::OpenOptions;
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use iced::Task;
use iced::widget::image::Handle;
use net::limits;

use crate::call::image_mime;
use crate::i18n::chat as words;

/// The longest side of a small version, in pixels. As RGBA it stays far below 2 MiB, so that every
/// renderer draws it at once.
const PREVIEW_SIDE: u32 = 560;
/// Memory that decoding one picture may take.
const DECODE_BYTES: u64 = 512 * 1024 * 1024;

/// Names that are tried for a file that exists already.
const NAMES: u32 = 1_000;
/// The longest name of a saved file, in characters; every file system takes it.
const NAME_CHARS: usize = 80;

/// A picture that can be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Of the file, without a path.
    pub name: String,
    /// What it really is.
    pub mime: &'static str,
    /// The file.
    pub bytes: Bytes,
}

/// The small version of a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    pub(crate) handle: Handle,
    pub(crate) width: f32,
    pub(crate) height: f32,
}

/// Asks for a file; nothing comes when the dialog is dismissed.
pub(super) fn pick() -> Task<Result<Outgoing, String>> {
    let dialog = rfd::AsyncFileDialog::new()
        .set_title(words::PICTURE)
        .add_filter(words::PICTURES, &["png", "jpg", "jpeg", "gif", "webp"]);
    Task::future(async move { dialog.pick_file().await }).then(|file| match file {
        Some(file) => read(file.path().to_owned()),
        None => Task::none(),
    })
}

/// Reads a file.
pub fn read(path: PathBuf) -> Task<Result<Outgoing, String>> {
    blocking(move || {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let bytes = read_bounded(&path)?;
        outgoing(name.unwrap_or_default(), bytes)
    })
}

/// Looks for a picture on the clipboard; nothing comes when there is none.
pub(super) fn paste() -> Task<Outgoing> {
    blocking(|| {
        let image = arboard::Clipboard::new().ok()?.get_image().ok()?;
        let (width, height) = (u32::try_from(image.width).ok()?, u32::try_from(image.height).ok()?);
        let pixels = image::RgbaImage::from_raw(width, height, image.bytes.into_owned())?;
        let mut png = Cursor::new(Vec::new());
        pixels.write_to(&mut png, image::ImageFormat::Png).ok()?;
        outgoing(words::PASTED.to_owned(), png.into_inner()).ok()
    })
    .then(|picture| picture.map_or_else(Task::none, Task::done))
}

/// Writes a picture into the user's folder for downloads, under a name that is free there. Where
/// there is no such folder, asks where to; nothing comes when that dialog is dismissed.
pub(super) fn save(name: String, bytes: Bytes) -> Task<Result<PathBuf, String>> {
    let downloads = directories::UserDirs::new()
        .and_then(|folders| folders.download_dir().map(Path::to_path_buf));
    if let Some(folder) = downloads {
        return blocking(move || save_in(&folder, &name, &bytes));
    }
    let dialog = rfd::AsyncFileDialog::new().set_title(words::SAVE).set_file_name(safe(&name));
    Task::future(async move { dialog.save_file().await }).then(move |file| match file {
        Some(file) => {
            let bytes = bytes.clone();
            blocking(move || write(file.path().to_owned(), &bytes))
        }
        None => Task::none(),
    })
}

fn save_in(folder: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf, String> {
    let cannot_save = |error: std::io::Error| words::cannot_save(folder, &error);
    std::fs::create_dir_all(folder).map_err(cannot_save)?;
    let name = safe(name);
    let (stem, extension) = name.rsplit_once('.').unwrap_or((&name, "png"));
    let names = std::iter::once(name.clone())
        .chain((2..NAMES).map(|number| format!("{stem} ({number}).{extension}")));
    for name in names {
        let path = folder.join(name);
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(mut file) => {
                return match file.write_all(bytes) {
                    Ok(()) => Ok(path),
                    Err(error) => Err(words::cannot_save(&path, &error)),
                };
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(words::cannot_save(&path, &error)),
        }
    }
    Err(words::cannot_save(folder, &words::TOO_MANY))
}

fn write(path: PathBuf, bytes: &[u8]) -> Result<PathBuf, String> {
    match std::fs::write(&path, bytes) {
        Ok(()) => Ok(path),
        Err(error) => Err(words::cannot_save(&path, &error)),
    }
}

/// A name that somebody else chose, made harmless: no folders, no hidden files, nothing that a
/// file system could take amiss.
fn safe(name: &str) -> String {
    let name: String = name
        .chars()
        .map(|letter| match letter {
            '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' => '_',
            letter if letter.is_control() => '_',
            letter => letter,
        })
        .take(NAME_CHARS)
        .collect();
    let name = name.trim_matches(|letter: char| letter == '.' || letter.is_whitespace());
    if name.is_empty() { words::PASTED.to_owned() } else { name.to_owned() }
}

/// The small version of a picture; `None` when it can't be decoded.
pub(super) fn preview(bytes: Bytes) -> Task<Option<Preview>> {
    blocking(move || decode(&bytes))
}

fn decode(bytes: &[u8]) -> Option<Preview> {
    let mut reader = image::ImageReader::new(Cursor::new(bytes)).with_guessed_format().ok()?;
    let mut bounds = image::Limits::default();
    bounds.max_image_width = Some(limits::IMAGE_SIDE_PIXELS);
    bounds.max_image_height = Some(limits::IMAGE_SIDE_PIXELS);
    bounds.max_alloc = Some(DECODE_BYTES);
    reader.limits(bounds);
    let whole = reader.decode().ok()?;
    let small = if whole.width().max(whole.height()) > PREVIEW_SIDE {
        whole.thumbnail(PREVIEW_SIDE, PREVIEW_SIDE)
    } else {
        whole
    };
    let small = small.into_rgba8();
    let (width, height) = small.dimensions();
    Some(Preview {
        handle: Handle::from_rgba(width, height, small.into_raw()),
        width: width as f32,
        height: height as f32,
    })
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, String> {
    let cannot_read = |error: std::io::Error| words::cannot_read(path, &error);
    let size = std::fs::metadata(path).map_err(cannot_read)?.len();
    if size > limits::IMAGE_BYTES as u64 {
        return Err(words::too_large());
    }
    std::fs::read(path).map_err(cannot_read)
}

fn outgoing(name: String, bytes: Vec<u8>) -> Result<Outgoing, String> {
    if bytes.len() > limits::IMAGE_BYTES {
        return Err(words::too_large());
    }
    let mime = image_mime(&bytes).ok_or_else(|| words::NOT_A_PICTURE.to_owned())?;
    Ok(Outgoing { name, mime, bytes: bytes.into() })
}

/// Runs `work` where waiting harms nobody.
fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Task<T> {
    Task::future(async move { tokio::task::spawn_blocking(work).await })
        .then(|result| result.map_or_else(|_| Task::none(), Task::done))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image::RgbImage::new(width, height).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn a_picture_is_recognised_by_its_content() {
        let picture = outgoing("a.txt".to_owned(), png(2, 2)).unwrap();
        assert_eq!(picture.mime, "image/png");
        let not = outgoing("a.png".to_owned(), b"<svg></svg>".to_vec());
        assert_eq!(not.unwrap_err(), words::NOT_A_PICTURE);
        let large = outgoing("a.png".to_owned(), vec![0; limits::IMAGE_BYTES + 1]);
        assert_eq!(large.unwrap_err(), words::too_large());
    }

    #[test]
    fn a_saved_picture_replaces_nothing_and_stays_in_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let save = |name: &str, bytes: &[u8]| save_in(folder.path(), name, bytes).unwrap();
        assert_eq!(save("cat.png", b"1"), folder.path().join("cat.png"));
        assert_eq!(save("cat.png", b"2"), folder.path().join("cat (2).png"));
        assert_eq!(std::fs::read(folder.path().join("cat.png")).unwrap(), b"1");
        for (name, safe) in [
            ("../../etc/passwd", "_.._etc_passwd"),
            ("..", "pasted.png"),
            (".bashrc", "bashrc"),
            ("C:\\x.png", "C__x.png"),
            ("a\u{0}b\n.png", "a_b_.png"),
        ] {
            assert_eq!(save(name, b"3"), folder.path().join(safe), "{name}");
        }
        assert!(save(&"x".repeat(500), b"4").starts_with(folder.path()));
    }

    #[test]
    fn previews_are_small_and_keep_their_shape() {
        let preview = decode(&png(2000, 500)).unwrap();
        assert_eq!((preview.width, preview.height), (560.0, 140.0));
        let preview = decode(&png(20, 10)).unwrap();
        assert_eq!((preview.width, preview.height), (20.0, 10.0));
        assert!(decode(b"\x89PNG\r\n\x1a\nrubbish").is_none());
    }
}
