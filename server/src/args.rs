//! The command line: a flag for each setting that may stand there, from the table of settings.

use clap::{Arg, ArgAction, ArgMatches, Command};
use server::config::environment::Environment;
use server::config::setting::{Draft, Setting, WrongSetting, settings};
use server::{Config, default_state_dir};

const ABOUT: &str = "\
The meeting server: rooms, relay and the web client in one program.

Everything has a default. Settings also come from the environment and from a file `.env` in the \
current folder; flags win over the environment, and the environment over the file. docs/server.md \
explains all of them.";

/// The name under which `doctor` is called.
pub const DOCTOR: &str = "doctor";

/// The whole command line.
pub fn command() -> Command {
    let doctor = Command::new(DOCTOR)
        .about("Looks for what would keep a server with these settings from working")
        .long_about(
            "Checks ports, certificate, clock, files, media relay and the way to other servers, \
             and says in words what is wrong and how to mend it. Ends with 1 when something is \
             wrong.",
        )
        .arg(
            Arg::new("url")
                .long("url")
                .value_name("URL")
                .help("Looks at the server that runs there, as its guests see it"),
        )
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("Prints one JSON object a finding"),
        )
        .arg(
            Arg::new("health")
                .long("health")
                .action(ArgAction::SetTrue)
                .help("Only asks the server of these settings whether it is well"),
        );
    Command::new("private-meet-server")
        .version(env!("CARGO_PKG_VERSION"))
        .about("The meeting server: rooms, relay and the web client in one program")
        .long_about(ABOUT)
        .after_help(without_flags())
        .args(settings().filter_map(argument))
        .subcommand(doctor)
}

fn argument(setting: &Setting) -> Option<Arg> {
    let flag = setting.flag?;
    let action = if setting.many { ArgAction::Append } else { ArgAction::Set };
    let Setting { name, takes, default, help, .. } = setting;
    Some(
        Arg::new(*name)
            .long(flag)
            .value_name(*takes)
            .action(action)
            .global(true)
            .help(format!("{help} [env: {name}] [default: {default}]")),
    )
}

/// What can only be set in the environment.
fn without_flags() -> String {
    let mut text = "Only in the environment or in .env:".to_owned();
    for Setting { name, help, default, .. } in settings().filter(|s| s.flag.is_none()) {
        text.push_str(&format!("\n  {name}\n      {help} [default: {default}]"));
    }
    text
}

/// The configuration that flags and environment make together.
///
/// # Errors
/// A sentence that names the setting, its value and what would be right.
pub fn config(flags: &ArgMatches, environment: &Environment) -> anyhow::Result<Config> {
    let defaults = Config { state_dir: default_state_dir(), ..Config::default() };
    // A wrong flag is reported before a wrong variable: it was typed a moment ago.
    let mut draft = Draft::new(defaults.clone());
    fill(&mut draft, flags)?;
    let mut draft = Draft::new(defaults);
    environment.fill(&mut draft)?;
    fill(&mut draft, flags)?;
    let config = draft.finish()?;
    if config.tls == server::Tls::SelfSigned && config.state_dir.is_none() {
        anyhow::bail!("there is no folder to keep the self-made certificate in: set --state-dir");
    }
    Ok(config)
}

fn fill(draft: &mut Draft, flags: &ArgMatches) -> Result<(), WrongSetting> {
    for setting in settings() {
        let Some(flag) = setting.flag else { continue };
        let Ok(Some(values)) = flags.try_get_many::<String>(setting.name) else { continue };
        let values: Vec<&str> = values.map(String::as_str).collect();
        draft.take(setting, &format!("--{flag}"), &values.join(","))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use server::{Origins, Tls};

    use super::*;

    fn config_of(flags: &[&str], settings: &[(&str, &str)]) -> anyhow::Result<Config> {
        let flags = ["private-meet-server", "--state-dir", "/tmp/s"].iter().chain(flags);
        config(&command().try_get_matches_from(flags)?, &Environment::of(settings))
    }

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn flags_win_over_the_environment() {
        let environment = [("SERVER_PORT", "8080"), ("USE_LOCAL_TLS", "false")];
        let from_environment = config_of(&[], &environment).unwrap();
        assert_eq!((from_environment.listen.port(), from_environment.tls), (8080, Tls::Off));
        let flags = ["--listen", "127.0.0.1:0", "--tls", "self"];
        let from_flags = config_of(&flags, &environment).unwrap();
        assert_eq!(from_flags.listen, "127.0.0.1:0".parse().unwrap());
        assert_eq!(from_flags.tls, Tls::SelfSigned);
        let port = config_of(&["--port", "81"], &[("LISTEN", "[::1]:80")]).unwrap();
        assert_eq!(port.listen, "[::1]:81".parse().unwrap());
    }

    #[test]
    fn flags_may_be_repeated_where_that_means_something() {
        let flags = ["--trusted-proxy", "10.0.0.0/8", "--trusted-proxy", "::1"];
        assert_eq!(config_of(&flags, &[]).unwrap().trusted_proxies.len(), 2);
        let flags = ["--allowed-origin", "https://a", "--allowed-origin", "https://b"];
        let Origins::Listed(listed) = config_of(&flags, &[]).unwrap().origins else { panic!() };
        assert_eq!(listed.len(), 2);
        assert!(config_of(&["--port", "1", "--port", "2"], &[]).is_err());
    }

    #[test]
    fn flags_that_contradict_each_other_are_refused() {
        for flags in [
            &["--tls", "files"][..],
            &["--tls", "files", "--tls-key", "k"],
            &["--tls", "off", "--tls-key", "k", "--tls-certificate", "c"],
            &["--web-csp", "default-src *"],
            &["--listen", "3000"],
            &["--tls", "maybe"],
        ] {
            assert!(config_of(flags, &[]).is_err(), "{flags:?}");
        }
        let files = config_of(&["--tls-key", "k", "--tls-certificate", "c"], &[]).unwrap();
        assert!(matches!(files.tls, Tls::Files { .. }));
    }

    #[test]
    fn a_wrong_setting_is_named() {
        let error = config_of(&[], &[("SERVER_PORT", "many")]).unwrap_err().to_string();
        assert_eq!(error, r#"SERVER_PORT is "many", but it must be a port, 0 to 65535"#);
        let error = config_of(&["--port", "many"], &[]).unwrap_err().to_string();
        assert_eq!(error, r#"--port is "many", but it must be a port, 0 to 65535"#);
    }

    #[test]
    fn settings_follow_the_word_doctor_too() {
        let line = ["private-meet-server", "doctor", "--json", "--port", "81"];
        let matches = command().try_get_matches_from(line).unwrap();
        let (name, flags) = matches.subcommand().unwrap();
        assert_eq!((name, flags.get_flag("json")), (DOCTOR, true));
        let environment = Environment::of(&[("USE_LOCAL_TLS", "false")]);
        assert_eq!(config(flags, &environment).unwrap().listen.port(), 81);
    }
}
