//! What a verb finds: its flags and arguments, the streams, and on demand a connection.

use super::fail::{FAILED, FILE, Fail, INPUT};
use super::given::Given;
use super::io::Io;
use super::out::{Format, Out};
use super::preset::Preset;
use super::wire::{Etcd, Target};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio_util::sync::CancellationToken;

/// As many bytes of standard input are read at once, as by etcdctl (Go's `bufio`).
const READ_AHEAD: usize = 4096;

/// One command at work. No connection is made before a verb asks for one.
pub(crate) struct Ctx<'io> {
    pub given: Given,
    pub out: Out<'io>,
    stdin: BufReader<&'io mut (dyn tokio::io::AsyncRead + Send + Unpin)>,
    is_typed: bool,
    stderr: &'io mut (dyn tokio::io::AsyncWrite + Send + Unpin),
    pub cancel: CancellationToken,
    target: Target,
    timeout: Duration,
}

impl<'io> Ctx<'io> {
    /// Reads the global flags and the certificates that they name. `preset` stands in for flags
    /// that were not given. A verb that does not use a store needs no certificate.
    ///
    /// # Errors
    /// [`Fail`] with the exit code: an unknown format (`FEATURE`), a duration that is none
    /// (`FAILED`), or as [`Target::of`].
    pub(crate) fn new(
        given: Given,
        io: &'io mut Io,
        preset: Preset,
        uses_store: bool,
    ) -> Result<Ctx<'io>, Fail> {
        let format = Format::named(&given.text("write-out"))?;
        let out = Out { format, hex: given.on("hex"), to: &mut *io.stdout };
        let target = if uses_store { Target::of(&given, preset)? } else { Target::default() };
        let timeout = given.duration("command-timeout")?;
        let stdin: &'io mut (dyn tokio::io::AsyncRead + Send + Unpin) = &mut *io.stdin;
        let stdin = BufReader::with_capacity(READ_AHEAD, stdin);
        let (stderr, cancel) = (&mut *io.stderr, io.cancel.clone());
        let is_typed = io.is_typed;
        Ok(Ctx { given, out, stdin, is_typed, stderr, cancel, target, timeout })
    }

    /// The longest wait for an answer, if the command line or the environment names one.
    pub(crate) fn chosen_timeout(&self) -> Option<Duration> {
        self.given.was_set("command-timeout").then_some(self.timeout)
    }

    /// The arguments without the verb and the flags.
    pub(crate) fn args(&self) -> &[String] {
        &self.given.args
    }

    /// Connects to the first endpoint that can be reached.
    ///
    /// # Errors
    /// As [`Etcd::connect`].
    pub(crate) async fn connect(&self) -> Result<Etcd, Fail> {
        Etcd::connect(&self.target, self.timeout).await
    }

    /// The endpoints one by one, for verbs about members; with `--cluster` those that the members
    /// list.
    ///
    /// # Errors
    /// With `--cluster` as [`Etcd::connect`] and [`Etcd::members`], with the exit code [`FAILED`];
    /// without it never.
    pub(crate) async fn endpoints(&self) -> Result<Vec<String>, Fail> {
        if !self.given.on("cluster") {
            return Ok(self.target.endpoints.clone());
        }
        let members = async { self.connect().await?.members().await };
        let unlisted = |fail: Fail| {
            let text = format!("failed to fetch endpoints from etcd cluster member list: {}", fail.text);
            Fail::new(FAILED, text)
        };
        let members = members.await.map_err(unlisted)?;
        Ok(members.into_iter().flat_map(|member| member.client_urls).collect())
    }

    /// Connects to the member behind one endpoint.
    ///
    /// # Errors
    /// As [`Etcd::connect`].
    pub(crate) async fn member(&self, endpoint: &str) -> Result<Etcd, Fail> {
        Etcd::connect(&self.target.only(endpoint), self.timeout).await
    }

    /// A line beside the answer.
    pub(crate) async fn tell(&mut self, text: &str) {
        let _ = self.stderr.write_all(format!("{text}\n").as_bytes()).await; // nobody may be listening
        let _ = self.stderr.flush().await;
    }

    /// Reads standard input to its end, whatever its bytes are. At a terminal it says before that
    /// it reads `what`: without a word, further commands would be typed into the value. (etcdctl
    /// says nothing.)
    ///
    /// # Errors
    /// It cannot be read ([`FILE`]).
    pub(crate) async fn read_bytes(&mut self, what: &str) -> Result<Vec<u8>, Fail> {
        if self.is_typed {
            self.tell(&format!("reading {what} from the terminal; Ctrl-D ends it, Ctrl-C cancels")).await;
        }
        let mut bytes = Vec::new();
        self.stdin.read_to_end(&mut bytes).await.map_err(|e| Fail::new(FILE, e.to_string()))?;
        Ok(bytes)
    }

    /// Reads a line of standard input, without the space around it. Up to [`READ_AHEAD`] bytes
    /// behind it are taken from a pipe or a file; a terminal gives one line at a time.
    ///
    /// # Errors
    /// The input ends before the line does: what was cut off is not acted upon ([`INPUT`]). Or it
    /// cannot be read, or is no UTF-8 ([`FILE`]).
    pub(crate) async fn read_line(&mut self) -> Result<String, Fail> {
        let mut line = Vec::new();
        let read = self.stdin.read_until(b'\n', &mut line).await;
        read.map_err(|e| Fail::new(FILE, e.to_string()))?;
        if line.pop() != Some(b'\n') {
            return Err(Fail::new(INPUT, "EOF"));
        }
        let line = String::from_utf8(line).map_err(|e| Fail::new(FILE, e.to_string()))?;
        Ok(line.trim().to_string())
    }
}
