//! The documents say what the program does: the tables of settings in `docs/server.md` and the
//! whole of `.env.example` come from the program's own table.
//!
//! `UPDATE_DOCUMENTS=1 cargo test` writes them anew.

use std::fs;
use std::path::{Path, PathBuf};

use server::config::setting::{documentation, example, settings};

const BEGIN: &str = "<!-- settings: written by server/tests/documents.rs -->\n";
const END: &str = "<!-- end of settings -->\n";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a parent").to_owned()
}

fn check(path: &Path, expected: &str) {
    if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
        fs::write(path, expected).expect("a file that can be written");
    }
    let found = fs::read_to_string(path).unwrap_or_default();
    let path = path.display();
    assert!(found == expected, "{path} differs: run UPDATE_DOCUMENTS=1 cargo test -p server");
}

#[test]
fn every_setting_stands_in_the_example_file() {
    check(&root().join(".env.example"), &example());
    for setting in settings() {
        assert!(example().contains(&format!("\n#{}=\n", setting.name)), "{}", setting.name);
    }
}

#[test]
fn every_setting_stands_in_the_manual() {
    let path = root().join("docs/server.md");
    let found = fs::read_to_string(&path).unwrap();
    let (before, rest) = found.split_once(BEGIN).expect("the place of the settings");
    let (_, after) = rest.split_once(END).expect("the end of the settings");
    check(&path, &format!("{before}{BEGIN}{}\n{END}{after}", documentation()));
    for setting in settings() {
        assert!(found.contains(&format!("| `{}` |", setting.name)), "{}", setting.name);
    }
}
