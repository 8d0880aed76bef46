//! Checks whether the session's cluster still runs, and tells the learner when it has ended.

use super::Session;
use crate::texts::{Lang, Say, problem};
use cluster::control::Control;
use cluster::{Error, Place};
use lang::charset::eprintln;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Pause before the control socket is tried again, if it could not be used.
const AGAIN: Duration = Duration::from_secs(1);

impl Session {
    /// Returns whether the cluster runs. If it has ended, prints that, unless it is back.
    pub(super) fn check_alive(&mut self) -> bool {
        if !self.dead.load(Ordering::Acquire) {
            return true;
        }
        if self.handle.block_on(Control::connect(&self.place)).is_ok() {
            self.watch();
            self.watch_lesson();
            self.watch_drill();
            eprintln!("{}", self.say(Say::ClusterBack, &[&self.place.name]));
            return true;
        }
        eprintln!("{}", cluster_ended(self.lang(), &self.place));
        false
    }

    /// Starts a task that notices the cluster's end, because the control socket closes, and tells
    /// the learner.
    pub(crate) fn watch(&self) {
        self.dead.store(false, Ordering::Release);
        let (place, dead, lang) = (self.place.clone(), self.dead.clone(), self.lang.clone());
        let news = self.news.clone();
        self.handle.spawn(async move {
            loop {
                match Control::connect(&place).await {
                    Ok(mut control) => while let Ok(Some(_)) = control.next().await {},
                    // The cluster has not ended: it was too busy to answer before the connection
                    // timed out.
                    Err(Error::Hangs { .. }) => continue,
                    // The cluster may run on: this process could not open the socket, e.g. for too
                    // many open files.
                    Err(Error::File { .. }) => {
                        clock::sleep(AGAIN).await;
                        continue;
                    }
                    Err(_) => {}
                }
                break;
            }
            dead.store(true, Ordering::Release);
            let lang = *lang.lock();
            news.tell(cluster_ended(lang, &place));
        });
    }
}

/// Returns the message that the session's cluster has ended, with its log and the way to start it
/// again.
fn cluster_ended(lang: Lang, place: &Place) -> String {
    problem(
        lang,
        &lang.say(Say::ClusterEnded, &[&place.name]),
        Some(&lang.say(Say::ClusterEndedWhy, &[&place.log().display().to_string()])),
        Some(&lang.say(Say::ClusterEndedTry, &[&place.name])),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Manner;
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

    /// As long as a build takes all processors, or a start loads many images.
    #[tokio::test(start_paused = true)]
    async fn a_cluster_that_is_too_busy_to_answer_has_not_ended() {
        let dir = tempfile::tempdir().unwrap();
        let place = cluster::Home::at(dir.path()).cluster("main").unwrap();
        std::fs::create_dir_all(&place.root).unwrap();
        let listener = tokio::net::UnixListener::bind(place.socket()).unwrap();
        let session = Session::new(place, Lang::En, Manner::Pipe, tokio::runtime::Handle::current());
        let (tell, mut told) = tokio::sync::mpsc::channel(8);
        session.print_news_with(move |words| tell.try_send(words).unwrap());
        session.watch();
        let _silent = listener.accept().await.unwrap();
        let again = tokio::time::timeout(std::time::Duration::from_secs(60), listener.accept()).await;
        let (read, mut write) = again.expect("it is asked again").unwrap().0.into_split();
        let mut lines = BufReader::new(read).lines();
        lines.next_line().await.unwrap(); // the greeting
        write.write_all(b"{\"ok\":null}\n").await.unwrap();
        assert!(told.try_recv().is_err() && !session.dead.load(Ordering::Acquire));
        drop((lines, write));
        assert!(told.recv().await.is_some_and(|words| words.contains("has ended")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_socket_that_cannot_be_used_does_not_tell_that_the_cluster_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let place = cluster::Home::at(dir.path()).cluster("main").unwrap();
        let socket = place.socket();
        std::fs::create_dir_all(&place.root).unwrap();
        std::os::unix::fs::symlink("control.sock", &socket).unwrap(); // leads to itself
        let session = Session::new(place, Lang::En, Manner::Pipe, tokio::runtime::Handle::current());
        let (tell, mut told) = tokio::sync::mpsc::channel(8);
        session.print_news_with(move |words| tell.try_send(words).unwrap());
        session.watch();
        let silent = tokio::time::timeout(5 * AGAIN, told.recv()).await;
        assert!(silent.is_err() && !session.dead.load(Ordering::Acquire), "nothing is known");
        std::fs::remove_file(socket).unwrap();
        assert!(told.recv().await.is_some_and(|words| words.contains("has ended")));
    }
}
