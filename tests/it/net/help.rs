//! The text of `--help` for every command.

use clap::{Command, CommandFactory};

use super::Family;
use super::steady::koschei;

/// Returns every command, the program itself first: the words to type, and whether it has
/// subcommands.
pub(super) fn commands() -> Vec<(Vec<String>, bool)> {
    fn below(command: &Command, path: &[String], all: &mut Vec<(Vec<String>, bool)>) {
        all.push((path.to_vec(), command.has_subcommands()));
        for sub in command.get_subcommands().filter(|s| s.get_name() != "help") {
            below(sub, &[path, &[sub.get_name().to_owned()]].concat(), all);
        }
    }
    let mut all = Vec::new();
    below(&koschei::cli::Cli::command(), &[], &mut all);
    all
}

#[test]
fn every_help_is_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut family = Family::new("help");
    let commands = commands();
    assert!(commands.len() > 30, "only {} commands were found", commands.len());
    for (path, _) in commands {
        let out = koschei(dir.path(), path.iter().map(String::as_str).chain(["--help"]));
        assert!(out.status.success(), "{path:?}: {out:?}");
        let name = if path.is_empty() { "koschei".to_owned() } else { path.join("-") };
        family.is(&name, &String::from_utf8(out.stdout).unwrap());
    }
    family.done();
}
