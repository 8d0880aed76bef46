//! Replies compared with those of a real server, as redis-cli prints them.

use super::cli;
use super::client;
use super::commands::{self, Facts, Session};
use super::resp::{Replies, split_line};
use super::store::Database;
use super::{Call, PORT};

#[test]
fn replies_are_those_of_redis() {
    let (mut db, facts) = (Database::default(), Facts::default());
    let mut differ = Vec::new();
    let text = include_str!("replies.txt");
    let sections = text.split("\n> ").skip(1);
    let mut count = 0;
    for section in sections {
        let (line, want) = section.trim_end_matches('\n').split_once('\n').unwrap();
        let mut replies = Replies::default();
        let words = split_line(line.as_bytes()).unwrap();
        commands::run(&mut db, &mut Session::default(), words, (1_000_000, &facts), &mut replies);
        let bytes = replies.take_finished();
        let reply = client::read_reply(&mut &bytes[..], 8).unwrap();
        let mut printed = Vec::new();
        cli::write_for_terminal(&reply, "", &mut printed);
        let got = String::from_utf8(printed).unwrap();
        if got.trim_end_matches('\n') != want {
            differ.push(format!("{line}\nRedis: {want}\nhere:  {got}"));
        }
        count += 1;
    }
    assert!(count > 200 && differ.is_empty(), "of {count}:\n{}", differ.join("\n"));
}

#[test]
fn options_may_be_written_in_two_ways() {
    let call = |line: &str| super::parse(&line.split_whitespace().map(String::from).collect::<Vec<_>>());
    let want = Call { port: 7000, dir: Some("/d".into()) };
    assert_eq!(call("--port 7000 --dir=/d"), Ok(Some(want)));
    assert_eq!(call(""), Ok(Some(Call { port: PORT, dir: None })));
    assert_eq!(call("--help"), Ok(None));
    assert_eq!(call("--port x"), Err("bad port \"x\"".into()));
    assert!(call("--dir").is_err() && call("kv-cli").is_err());
}
