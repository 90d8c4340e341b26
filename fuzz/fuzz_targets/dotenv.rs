//! The file with settings. Its owner is no stranger, but a slip of the pen must end in a
//! sentence, not in a panic.
#![no_main]

use std::io::{Seek, SeekFrom, Write};
use std::sync::{LazyLock, Mutex};

use libfuzzer_sys::fuzz_target;
use server::config::Config;
use server::config::environment::Environment;

static FILE: LazyLock<Mutex<tempfile::NamedTempFile>> =
    LazyLock::new(|| Mutex::new(tempfile::NamedTempFile::new_in("/dev/shm").expect("a file")));

fuzz_target!(|bytes: &[u8]| {
    let mut file = FILE.lock().expect("one thread");
    file.as_file().set_len(0).expect("an empty file");
    file.seek(SeekFrom::Start(0)).expect("its start");
    file.write_all(bytes).expect("room for it");
    if let Ok(environment) = Environment::load(file.path())
        && let Err(wrong) = environment.config(Config::default())
    {
        assert!(!wrong.to_string().is_empty());
    }
});
