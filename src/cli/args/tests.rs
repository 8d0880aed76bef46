use super::up::{range, server};
use super::*;
use clap::CommandFactory;

#[test]
fn the_table_is_sound() {
    Args::command().debug_assert();
    assert_eq!(range("30000-30010"), Ok((30000, 30010)));
    let wait = |words: &[&str]| Args::try_parse_from([&["ropewalk", "up", "--wait"], words].concat());
    assert!(wait(&["--detach"]).is_ok());
    assert!(wait(&[]).is_err(), "in the foreground it would mean nothing");
    let is_taken = |words: &[&str]| Args::try_parse_from([&["ropewalk"], words].concat()).is_ok();
    for command in ["lesson", "lab"] {
        assert!(is_taken(&[command, "test", "a"]) && is_taken(&[command, "test", "--all"]));
        assert!(!is_taken(&[command, "test", "a", "--all"]), "one of the two would mean nothing");
    }
    assert!(!is_taken(&["up", "--api-port", "0"]) && !is_taken(&["--api-port", "0"]), "no port");
    assert!(is_taken(&["bench", "--runs", "1"]) && !is_taken(&["bench", "--runs", "0"]));
    assert!(is_taken(&["lab", "show", "a", "--seed", "7"]));
    assert!(!is_taken(&["lab", "show", "--seed", "7"]), "the open lab has its own");
    assert_eq!(server("https://etcd:2379").as_deref(), Ok("https://etcd:2379"));
    assert!(is_taken(&["up", "--etcd", "https://a:2379, https://b:2379"]));
    for url in ["", "https://a:2379,", "https://user:secret@a:2379"] {
        assert!(!is_taken(&["up", "--etcd", url]), "{url}");
    }
    assert!(range("5").is_err() && range("9-1").is_err() && range("0-3").is_err());
}
