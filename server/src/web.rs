//! The web client's files, from inside the binary or from a folder, with the headers that keep a
//! page from doing more than it must.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;
use std::path::{Component, Path, PathBuf};

use axum::body::Body;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use percent_encoding::percent_decode_str;
use rust_embed::RustEmbed;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::config::Web;

/// Everything from here; pictures and sound also from what the page itself made.
const CSP: &str = "default-src 'self'; connect-src 'self'; img-src 'self' blob: data:; \
    media-src 'self' blob: mediastream:; object-src 'none'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

const PERMISSIONS: &str = "camera=(self), microphone=(self), display-capture=(self), \
    geolocation=(), payment=(), usb=()";

/// Ask each time whether it is still the same: names stay while contents change.
const REVALIDATE: &str = "no-cache";

const PAGE: &str = "index.html";

#[derive(RustEmbed)]
#[folder = "web/"]
struct Embedded;

/// Why a folder can't be served.
#[derive(Debug, Error)]
pub enum WebError {
    /// Not there, or no folder.
    #[error("cannot serve the web client from {}", root.display())]
    Folder {
        /// As configured.
        root: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The policy has characters that no header may have.
    #[error("the content security policy is not a header value")]
    Policy,
}

/// Where files come from and what goes with them.
#[derive(Debug)]
pub struct Files {
    /// The folder with all links resolved, or `None` for those in the binary.
    root: Option<PathBuf>,
    csp: HeaderValue,
}

struct File {
    content: Cow<'static, [u8]>,
    media_type: String,
    hash: [u8; 32],
}

impl Files {
    /// Checks the folder, if it is one.
    ///
    /// # Errors
    /// [`WebError`] when there is no such folder, or the policy is no header.
    pub fn new(web: &Web) -> Result<Self, WebError> {
        match web {
            Web::Embedded => Ok(Self { root: None, csp: HeaderValue::from_static(CSP) }),
            Web::Folder { root, csp } => {
                let error = |source| WebError::Folder { root: root.clone(), source };
                let resolved = root.canonicalize().map_err(error)?;
                if !resolved.is_dir() {
                    return Err(error(io::ErrorKind::NotADirectory.into()));
                }
                let csp = HeaderValue::from_str(csp.as_deref().unwrap_or(CSP));
                Ok(Self { root: Some(resolved), csp: csp.map_err(|_| WebError::Policy)? })
            }
        }
    }

    /// The file at `path`, otherwise the page.
    pub async fn serve(&self, path: &str, request: &HeaderMap) -> Response {
        let file = match self.find(path).await {
            Some(file) => Some(file),
            None => self.find(PAGE).await,
        };
        let Some(file) = file else {
            let text = "This server carries no web client.";
            return plain(StatusCode::NOT_FOUND, text);
        };
        let etag = etag(&file.hash);
        let is_known = request.get_all(IF_NONE_MATCH).iter().any(|known| {
            let known = known.to_str().unwrap_or_default();
            known.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag)
        });
        let mut response = if is_known {
            Response::new(Body::empty())
        } else {
            Response::new(match file.content {
                Cow::Borrowed(content) => Body::from(content),
                Cow::Owned(content) => Body::from(content),
            })
        };
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else if let Ok(media_type) = HeaderValue::from_str(&file.media_type) {
            response.headers_mut().insert(CONTENT_TYPE, media_type);
        }
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(REVALIDATE));
        headers.insert(ETAG, HeaderValue::try_from(etag).expect("hex is a header value"));
        response
    }

    /// Adds the headers that every answer carries.
    pub fn protect(&self, headers: &mut HeaderMap) {
        headers.insert(CONTENT_SECURITY_POLICY, self.csp.clone());
        for (name, value) in [
            (REFERRER_POLICY, "no-referrer"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (HeaderName::from_static("permissions-policy"), PERMISSIONS),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }

    async fn find(&self, path: &str) -> Option<File> {
        let path = percent_decode_str(path.trim_start_matches('/')).decode_utf8().ok()?;
        let path = if path.is_empty() { PAGE } else { &path };
        if !is_plain(path) {
            return None;
        }
        let (content, hash) = match &self.root {
            None => {
                let file = Embedded::get(path)?;
                (file.data, file.metadata.sha256_hash())
            }
            Some(root) => {
                // Links may lead out of the folder; what they lead to must not.
                let resolved = tokio::fs::canonicalize(root.join(path)).await.ok()?;
                if !resolved.starts_with(root) {
                    return None;
                }
                let content = tokio::fs::read(resolved).await.ok()?;
                let hash = Sha256::digest(&content).into();
                (Cow::Owned(content), hash)
            }
        };
        Some(File { content, media_type: media_type(path), hash })
    }
}

/// Names below the folder only: no `..`, no other root, nothing hidden.
fn is_plain(path: &str) -> bool {
    let is_plain = |part: Component<'_>| match part {
        Component::Normal(name) => !name.to_string_lossy().starts_with('.'),
        _ => false,
    };
    !path.contains(['\0', '\\', ':']) && Path::new(path).components().all(is_plain)
}

fn media_type(path: &str) -> String {
    let guess = mime_guess::from_path(path).first_or_octet_stream();
    match (guess.type_().as_str(), guess.essence_str()) {
        ("text", essence) => format!("{essence}; charset=utf-8"),
        (_, essence @ ("application/json" | "application/manifest+json")) => {
            format!("{essence}; charset=utf-8")
        }
        (_, essence) => essence.to_owned(),
    }
}

fn etag(hash: &[u8; 32]) -> String {
    let mut tag = String::from('"');
    for byte in &hash[..16] {
        write!(tag, "{byte:02x}").expect("a string takes any text");
    }
    tag.push('"');
    tag
}

/// An answer in words.
pub fn plain(status: StatusCode, text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let media_type = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in [
            ("index.html", "<!doctype html>page"),
            ("app.js", "export {};"),
            (".env", "JWT_SECRET=x"),
        ] {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        folder
    }

    fn files(folder: &tempfile::TempDir, csp: Option<&str>) -> Files {
        let root = folder.path().to_owned();
        Files::new(&Web::Folder { root, csp: csp.map(str::to_owned) }).unwrap()
    }

    async fn body(files: &Files, path: &str) -> String {
        let response = files.serve(path, &HeaderMap::new()).await;
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn paths_stay_inside_the_folder() {
        let folder = folder();
        let root = folder.path().join("root");
        std::fs::create_dir(&root).unwrap();
        std::fs::write(root.join("index.html"), "page").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(folder.path().join("app.js"), root.join("link.js")).unwrap();
        let files = Files::new(&Web::Folder { root, csp: None }).unwrap();
        for path in [
            "/../app.js",
            "/%2e%2e/app.js",
            "/..%2fapp.js",
            "/x/../../app.js",
            "//etc/passwd",
            "/link.js",
            "/%00",
            "/..%5capp.js",
            "/%ff",
            "/",
        ] {
            assert_eq!(body(&files, path).await, "page", "{path}");
        }
    }

    #[tokio::test]
    async fn a_file_is_served_as_what_it_is_and_a_stranger_gets_the_page() {
        let folder = folder();
        let files = files(&folder, None);
        assert_eq!(body(&files, "/app.js").await, "export {};");
        for path in ["/", "/room/x", "/.env", "/missing.js"] {
            assert_eq!(body(&files, path).await, "<!doctype html>page", "{path}");
        }
        let response = files.serve("/app.js", &HeaderMap::new()).await;
        assert_eq!(response.headers()[CONTENT_TYPE], "text/javascript; charset=utf-8");
    }

    #[tokio::test]
    async fn what_the_browser_has_is_not_sent_again() {
        let folder = folder();
        let files = files(&folder, None);
        let first = files.serve("/app.js", &HeaderMap::new()).await;
        let mut request = HeaderMap::new();
        request.insert(IF_NONE_MATCH, first.headers()[ETAG].clone());
        assert_eq!(files.serve("/app.js", &request).await.status(), StatusCode::NOT_MODIFIED);
        std::fs::write(folder.path().join("app.js"), "changed").unwrap();
        assert_eq!(files.serve("/app.js", &request).await.status(), StatusCode::OK);
    }

    #[test]
    fn the_policy_is_ours_unless_the_folder_has_its_own() {
        let folder = folder();
        let policy = |csp| {
            let mut headers = HeaderMap::new();
            files(&folder, csp).protect(&mut headers);
            headers[CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned()
        };
        assert_eq!(policy(None), CSP);
        assert!(!CSP.contains("unsafe") && !CSP.contains("  "));
        assert_eq!(policy(Some("default-src *")), "default-src *");
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let root = PathBuf::from("/nowhere/at/all");
        let error = Files::new(&Web::Folder { root, csp: None }).unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all"));
    }
}
