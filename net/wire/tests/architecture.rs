//! The house stays as `ARCHITECTURE.md` draws it: arrows between crates, imports, file sizes, and
//! the one written protocol.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, MetadataCommand};
use wire::{MessageType, Refusal};

/// Which crates of ours a crate may depend on. Development dependencies may add those of the
/// second list: tests meet a real server.
const ARROWS: &[(&str, &[&str], &[&str])] = &[
    ("wire", &[], &[]),
    ("net", &["wire"], &["server"]),
    ("media", &[], &[]),
    ("server", &["wire"], &[]),
    ("app", &["media", "net"], &["server"]),
    ("bench", &["media", "net", "server", "wire"], &[]),
];

/// Lines of a file before its `#[cfg(test)]`; beyond that it is two files.
const FILE_LINES: usize = 800;

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("net/wire lies two folders below the root").to_owned()
}

fn files(folder: &str, extension: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                let text = fs::read_to_string(&path).expect("sources are UTF-8");
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty(), "no .{extension} file in {folder}");
    found.sort();
    found
}

#[test]
fn crates_depend_only_along_the_drawn_arrows() {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .other_options(["--offline".to_owned()])
        .exec()
        .expect("cargo metadata");
    let ours: BTreeSet<&str> = ARROWS.iter().map(|(name, ..)| *name).collect();
    let found: BTreeSet<&str> = metadata.packages.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(found, ours, "a new crate needs its line in ARROWS and in ARCHITECTURE.md");
    let allowed: BTreeMap<&str, (&[&str], &[&str])> =
        ARROWS.iter().map(|&(name, shipped, tests)| (name, (shipped, tests))).collect();
    for package in &metadata.packages {
        let (shipped, tests) = allowed[package.name.as_str()];
        for dependency in package.dependencies.iter().filter(|d| ours.contains(d.name.as_str())) {
            let name = dependency.name.as_str();
            let fits = shipped.contains(&name)
                || (dependency.kind == DependencyKind::Development && tests.contains(&name));
            assert!(fits, "{} must not depend on {name}", package.name);
        }
    }
}

/// Asserts that no line of `folder`'s code mentions `word`, but for files that `except` names.
fn nobody_mentions(folder: &str, word: &str, except: &[&str]) {
    for (path, text) in files(folder, "rs") {
        let name = path.strip_prefix(root()).expect("below the root").display().to_string();
        if except.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            assert!(!code.contains(word), "{name}:{}: mentions {word}", number + 1);
        }
    }
}

#[test]
fn only_the_peer_room_knows_webrtc() {
    nobody_mentions("net/src", "webrtc::", &["net/src/peer"]);
    nobody_mentions("net/src", "rtc::", &["net/src/peer"]);
}

#[test]
fn only_the_window_knows_iced() {
    for folder in ["net/src", "media/src", "server/src", "app/src/call", "app/src/headless"] {
        nobody_mentions(folder, "iced::", &[]);
    }
    nobody_mentions(
        "app/src",
        "iced::",
        &[
            "app/src/lib.rs",
            "app/src/screen",
            "app/src/widget",
            "app/src/theme",
            "app/src/icon",
            "app/src/testing",
            "app/src/window",
        ],
    );
}

#[test]
fn media_knows_no_sockets_and_the_server_no_media() {
    for word in ["tokio::net", "std::net", "tokio::runtime", "reqwest", "tungstenite"] {
        nobody_mentions("media/src", word, &[]);
    }
    nobody_mentions("app/src", "axum::", &[]);
}

#[test]
fn every_message_and_refusal_stands_in_the_protocol() {
    let protocol = fs::read_to_string(root().join("net/wire/PROTOCOL.md")).expect("PROTOCOL.md");
    for kind in MessageType::ALL {
        assert!(protocol.contains(kind.name()), "{} is not in PROTOCOL.md", kind.name());
    }
    for refusal in Refusal::ALL {
        assert!(protocol.contains(refusal.text()), "{:?} is not in PROTOCOL.md", refusal.text());
    }
}

#[test]
fn no_file_hides_two_rooms() {
    for folder in ["app", "bench", "media", "net", "server/src", "server/tests"] {
        for (path, text) in files(folder, "rs") {
            let lines = text.lines().take_while(|line| *line != "#[cfg(test)]").count();
            assert!(lines <= FILE_LINES, "{}: {lines} lines want to be two files", path.display());
        }
    }
    for (path, text) in files("server/web", "js") {
        // A list of words is data, however long.
        if !path.ends_with("words.js") {
            let lines = text.lines().count();
            assert!(lines <= 500, "{}: {lines} lines want to be two files", path.display());
        }
    }
}
