//! A cluster for tests: a control socket that answers what it is given.

use super::super::event::Event;
use cluster::{Home, Place};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixListener;
use tokio::sync::mpsc::Receiver;

/// A cluster whose control socket answers the questions that contain a word with these lines, and
/// all others with `null`. The lists are taken in turn, one for a connection; of the last one,
/// each.
pub(super) fn answers(turns: Vec<Vec<(&'static str, Vec<Value>)>>) -> (tempfile::TempDir, Place) {
    let dir = tempfile::tempdir().unwrap();
    let place = Home::at(dir.path()).cluster("main").unwrap();
    std::fs::create_dir_all(&place.root).unwrap();
    let listener = UnixListener::bind(place.socket()).unwrap();
    tokio::spawn(async move {
        let mut turn = 0;
        while let Ok((stream, _)) = listener.accept().await {
            let said = turns[turn.min(turns.len() - 1)].clone();
            turn += 1;
            tokio::spawn(async move {
                let (read, mut write) = stream.into_split();
                let mut lines = BufReader::new(read).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    let found = said.iter().find(|(word, _)| line.contains(word));
                    let replies = found.map_or(vec![json!({"ok": null})], |(_, all)| all.clone());
                    for reply in replies {
                        if write.write_all(format!("{reply}\n").as_bytes()).await.is_err() {
                            return; // the test may have ended
                        }
                    }
                }
            });
        }
    });
    (dir, place)
}

/// Returns the next event; fails the test if none comes.
pub(super) async fn next(told: &mut Receiver<Event>) -> Event {
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, told.recv()).await.expect("an event").expect("a teller")
}
