//! Real device streams on a computer without devices: a PulseAudio with a null sink, an X server
//! without a screen. Each test starts its servers and then itself anew with their addresses in
//! the environment, because a process can't change its own safely.

#![cfg(test)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use media::{
    AudioConfig, AudioEngine, AudioInput, AudioPacket, EncodedAudio, Processing, Screen,
    ScreenTarget, SoundSink, SoundSource, device,
};
use tokio::sync::mpsc;

/// A device that stopped is tried again after 1, 2, 4, 8 and 16 s; a busy computer needs them all.
const LONG: Duration = Duration::from_secs(90);
/// Set in the process that runs the true test.
const ROLE: &str = "PRIVATE_MEET_TEST_ROLE";
/// The folder of the sound server.
const FOLDER: &str = "PRIVATE_MEET_TEST_FOLDER";

/// A server that ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// Runs the test of this name in a process of its own; `true` in that process.
fn in_own_process<T>(name: &str, environment: impl FnOnce(&mut Command) -> T) -> bool {
    if std::env::var(ROLE).is_ok_and(|role| role == name) {
        return true;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture"]).env(ROLE, name);
    let _kept = environment(&mut command);
    assert!(command.status().unwrap().success(), "see above");
    false
}

/// A PulseAudio with a null sink, whose monitor is the only microphone. Its socket stands in `dir`.
fn pulseaudio(dir: &Path) -> Server {
    let socket = dir.join("native");
    let _ = fs::remove_file(&socket);
    let server = Command::new("pulseaudio")
        .args(["-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no"])
        .args(["-L", "module-null-sink sink_name=null rate=48000"])
        .arg("-L")
        .arg(format!("module-native-protocol-unix socket={} auth-anonymous=1", socket.display()))
        .env("XDG_RUNTIME_DIR", dir)
        .env("PULSE_RUNTIME_PATH", dir)
        .env("HOME", dir)
        .env_remove("DISPLAY")
        .env_remove("DBUS_SESSION_BUS_ADDRESS")
        .stderr(Stdio::null())
        .spawn()
        .expect("pulseaudio is installed");
    let server = Server(server);
    wait_for("the sound server", || socket.exists());
    server
}

/// Leads a process that is to be started to the sound server in `dir`.
fn lead_to_pulseaudio(dir: &Path, command: &mut Command) {
    let (socket, config) = (dir.join("native"), dir.join("asound.conf"));
    let address = format!("unix:{}", socket.display());
    let alsa = format!(
        "</usr/share/alsa/alsa.conf>\n\
         pcm.!default {{ type pulse server \"{address}\" }}\n\
         ctl.!default {{ type pulse server \"{address}\" }}\n"
    );
    fs::write(&config, alsa).unwrap();
    command.env("ALSA_CONFIG_PATH", &config).env("HOME", dir).env("XDG_RUNTIME_DIR", dir);
    command.env(FOLDER, dir);
}

fn open(
    microphone: SoundSource,
    speaker: SoundSink,
) -> (AudioEngine, mpsc::Receiver<EncodedAudio>) {
    // A tone is noise to the noise suppression.
    let processing = Some(Processing::NONE);
    AudioEngine::open(AudioConfig { microphone, speaker, processing })
}

/// Carries everything that waits from an engine to a peer of another.
fn carry(from: &mut mpsc::Receiver<EncodedAudio>, to: &AudioInput) {
    while let Ok(encoded) = from.try_recv() {
        let sequence = (encoded.rtp_time / 960) as u16;
        to.push(AudioPacket { data: encoded.data, rtp_time: encoded.rtp_time, sequence });
    }
}

fn cpu_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |index: usize| fields[index].parse::<u64>().unwrap();
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

#[test]
fn sound_goes_out_of_a_speaker_and_into_a_microphone_and_survives_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let name = "sound_goes_out_of_a_speaker_and_into_a_microphone_and_survives_the_server";
    if !in_own_process(name, |command| lead_to_pulseaudio(dir.path(), command)) {
        return;
    }
    let dir = PathBuf::from(std::env::var(FOLDER).unwrap());
    let server = pulseaudio(&dir);
    assert!(!device::microphones().is_empty() && !device::speakers().is_empty());
    // What the speaker plays is what the microphone hears.
    let (_singer, mut sung) = open(SoundSource::Tone(523.0), SoundSink::None);
    let (speaker, _) = open(SoundSource::None, SoundSink::Default);
    let (microphone, mut heard) = open(SoundSource::Default, SoundSink::None);
    let (listener, _) = open(SoundSource::None, SoundSink::None);
    let (stage, ear) = (speaker.add_peer("singer"), listener.add_peer("microphone"));
    let problems = || [speaker.problems(), microphone.problems()].concat();
    let mut hear = |what: &str, done: &dyn Fn() -> bool| {
        wait_for(what, || {
            carry(&mut sung, &stage);
            carry(&mut heard, &ear);
            done()
        });
    };
    let is_right = || {
        let pitch = ear.pitch_hz().is_some_and(|pitch| (pitch / 523.0 - 1.0).abs() < 0.02);
        pitch && (ear.level_dbfs() + 12.0).abs() < 3.0
    };
    hear("the tone in the microphone", &is_right);
    assert!(problems().is_empty(), "{:?}", problems());
    // A while of it, so that no gap is overlooked.
    let (before, until) = (ear.stats(), Instant::now() + Duration::from_millis(1500));
    hear("a while", &|| Instant::now() > until);
    let after = ear.stats();
    println!("{after:?} at {:?} Hz, {:.1} dBFS", ear.pitch_hz(), ear.level_dbfs());
    // A busy computer may cost a few; a broken stream would cost nearly all of 75.
    assert!(after.concealed - before.concealed < 25, "{before:?} {after:?}");
    hear("the tone still in the microphone", &is_right);

    drop(server);
    hear("the news that the server died", &|| problems().len() == 2);
    println!("{:?}", problems());
    assert!(speaker.problems()[0].starts_with("The speaker stopped"));
    assert!(microphone.problems()[0].starts_with("The microphone stopped"));
    // Nothing spins, and the others are decoded all the same.
    let (cpu, until) = (cpu_time(), Instant::now() + Duration::from_secs(1));
    hear("a second", &|| Instant::now() > until);
    let cpu = cpu_time() - cpu;
    assert!(cpu < Duration::from_millis(500), "{cpu:?} of CPU in a second");
    assert!(stage.level_dbfs() > -20.0, "decoded without a speaker");

    let _server = pulseaudio(&dir);
    hear("the tone again", &|| problems().is_empty() && is_right());
}

#[test]
fn without_a_sound_server_there_is_silence_and_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let name = "without_a_sound_server_there_is_silence_and_a_sentence";
    if !in_own_process(name, |command| lead_to_pulseaudio(dir.path(), command)) {
        return;
    }
    let (engine, mut packets) = open(SoundSource::Default, SoundSink::Default);
    wait_for("both sentences", || engine.problems().len() == 2);
    println!("{:?}", engine.problems());
    assert!(engine.problems()[0].contains("microphone"));
    assert!(engine.problems()[1].contains("speaker"));
    assert!(packets.try_recv().is_err());
    let (_singer, mut sung) = open(SoundSource::Tone(440.0), SoundSink::None);
    let peer = engine.add_peer("singer");
    wait_for("the decoded tone", || {
        carry(&mut sung, &peer);
        peer.level_dbfs() > -20.0
    });
}

fn start_x_server(command: &mut Command) -> Server {
    let server = Command::new("Xvfb")
        .args(["-displayfd", "1", "-screen", "0", "800x600x24", "-wr", "-nolisten", "tcp"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("Xvfb is installed");
    let mut server = Server(server);
    let mut number = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut number).unwrap();
    command.env("DISPLAY", format!(":{}", number.trim())).env_remove("WAYLAND_DISPLAY");
    server
}

#[test]
fn an_x11_screen_is_listed_and_shared() {
    if !in_own_process("an_x11_screen_is_listed_and_shared", start_x_server) {
        return;
    }
    let screens = device::screens();
    println!("{screens:?}");
    assert_eq!(screens.len(), 1);
    for target in [ScreenTarget::Primary, ScreenTarget::Named(screens[0].name.clone())] {
        let screen = Screen::open(&target, 15).unwrap();
        let frames = screen.frames();
        let (version, _) = frames.wait_newer(0, LONG).expect("a picture");
        let (_, frame) = frames.wait_newer(version, LONG).expect("another");
        assert_eq!((frame.width(), frame.height()), (800, 600));
        let white = frame.y().rows().flatten().filter(|sample| **sample > 230).count();
        assert!(white > 800 * 600 * 9 / 10, "{white} white pixels");
        assert_eq!(screen.problem(), None);
    }
    let missing = Screen::open(&ScreenTarget::Named("no such screen".into()), 15).unwrap();
    wait_for("the sentence", || missing.problem().is_some());
    assert!(missing.problem().unwrap().contains("no such screen"));
    assert!(Screen::open(&ScreenTarget::Primary, 0).is_err());
}

#[test]
fn without_a_screen_there_is_a_sentence() {
    let nowhere = |command: &mut Command| {
        command.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
    };
    if !in_own_process("without_a_screen_there_is_a_sentence", nowhere) {
        return;
    }
    assert!(device::screens().is_empty());
    let screen = Screen::open(&ScreenTarget::Primary, 15).unwrap();
    wait_for("the sentence", || screen.problem().is_some());
    assert_eq!(screen.problem().unwrap(), "There is no screen that could be shared.");
}
