//! `kv-cli`, the everyday part of redis-cli: one command from its arguments, or lines from standard
//! input. Replies look as redis-cli prints them: for people on a terminal, else plain.

use super::PORT;
use super::client::{Client, Reply};
use super::resp::{Words, split_line};
use crate::http::Deadline;
use std::ffi::OsString;
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

/// For a connection; a command may take as long as it does.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a reply, and of a line of standard input.
const REPLY_MAX: u64 = 128 << 20;
const LINE_MAX: u64 = 4 << 20;

const USAGE: &str = "Usage: kv-cli [-h HOST] [-p PORT] [-e] [--raw | --no-raw] [COMMAND ARG...]

A client of Ropewalk for kv-server, and for what else speaks Redis' protocol.

  -h HOST    the server's name or address (127.0.0.1)
  -p PORT    its port (6379)
  -e         end with 1 if the reply is an error
  --raw      print replies plain, also on a terminal
  --no-raw   print replies as on a terminal, also to a pipe

Without a command it reads commands from standard input, one on each line.
";

#[derive(Debug, PartialEq, Eq)]
struct Call {
    host: String,
    port: u16,
    fails_on_error: bool,
    raw: Option<bool>,
    command: Words,
}

/// `None` for `--help`.
fn parse(args: Vec<OsString>) -> Result<Option<Call>, String> {
    let mut call =
        Call { host: "127.0.0.1".into(), port: PORT, fails_on_error: false, raw: None, command: Vec::new() };
    let mut words = args.into_iter();
    while let Some(word) = words.next() {
        let bad = || format!("unrecognized option or bad number of arguments for: '{}'", word.display());
        match word.to_str() {
            Some("--help") => return Ok(None),
            Some("-h") => call.host = words.next().ok_or_else(bad)?.to_string_lossy().into_owned(),
            Some("-p") => {
                let port = words.next().and_then(|port| port.to_str()?.parse().ok());
                call.port = port.filter(|port| *port > 0).ok_or("invalid server port")?;
            }
            Some("-e") => call.fails_on_error = true,
            Some("--raw") => call.raw = Some(true),
            Some("--no-raw") => call.raw = Some(false),
            Some(option) if option.starts_with('-') => return Err(bad()),
            _ => {
                call.command.push(word.into_vec());
                call.command.extend(words.by_ref().map(OsString::into_vec));
            }
        }
    }
    Ok(Some(call))
}

/// `kv-cli [-h HOST] [-p PORT] [COMMAND ARG...]`. Exit code 1 without a connection, and with `-e`
/// for a reply that is an error.
pub(crate) fn main(args: Vec<OsString>) -> i32 {
    let call = match parse(args.into_iter().skip(1).collect()) {
        Ok(Some(call)) => call,
        Ok(None) => {
            print!("{USAGE}");
            return 0;
        }
        Err(e) => {
            eprintln!("kv-cli: {e}\n\n{USAGE}");
            return 1;
        }
    };
    let is_raw = call.raw.unwrap_or(!io::stdout().is_terminal());
    let mut session = Session { call: &call, client: None, is_raw };
    let done = match call.command.is_empty() {
        true => session.run_input_lines(),
        false => session.send_and_print(&call.command),
    };
    match done {
        Ok(()) => 0,
        Err(Failure::Printed) => 1,
        Err(Failure::Message(e)) => {
            eprintln!("{e}");
            1
        }
    }
}

enum Failure {
    /// A message for standard error.
    Message(String),
    /// A reply that is an error, and was printed.
    Printed,
}

struct Session<'a> {
    call: &'a Call,
    client: Option<Client>,
    is_raw: bool,
}

impl Session<'_> {
    fn server_address(&self) -> String {
        format!("{}:{}", self.call.host, self.call.port)
    }

    fn connect(&self) -> Result<Client, Failure> {
        let to = (self.call.host.as_str(), self.call.port);
        let mut client = Client::connect(to, Deadline::new(Some(PATIENCE)), REPLY_MAX)
            .map_err(|e| Failure::Message(format!("Could not connect to {}: {e}", self.server_address())))?;
        client.set_deadline(Deadline::new(None));
        Ok(client)
    }

    /// Sends a command and prints the reply.
    fn send_and_print(&mut self, words: &Words) -> Result<(), Failure> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => self.connect()?,
        };
        let reply = client.call(words).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => Failure::Message("Error: Server closed the connection".into()),
            _ => Failure::Message(format!("Error: {}", crate::reason(&e))),
        })?;
        self.client = Some(client);
        let mut text = Vec::new();
        match self.is_raw {
            true => write_raw(&reply, &mut text),
            false => write_for_terminal(&reply, "", &mut text),
        }
        if self.is_raw {
            text.push(b'\n');
        }
        let mut stdout = io::stdout().lock();
        stdout.write_all(&text).and_then(|()| stdout.flush()).map_err(|_| Failure::Printed)?;
        match (&reply, self.call.fails_on_error) {
            (Reply::Error(_), true) => Err(Failure::Printed),
            _ => Ok(()),
        }
    }

    /// Runs the commands of standard input. On a terminal an error is shown, and the next line is
    /// read.
    fn run_input_lines(&mut self) -> Result<(), Failure> {
        let is_asked = io::stdin().is_terminal();
        let mut input = io::stdin().lock();
        loop {
            if is_asked {
                print!("{}> ", self.server_address());
                let _ = io::stdout().flush(); // the prompt only helps
            }
            let mut line = Vec::new();
            let read = io::Read::take(&mut input, LINE_MAX).read_until(b'\n', &mut line);
            if read.map_err(|e| Failure::Message(format!("Error: {}", crate::reason(&e))))? == 0 {
                return Ok(());
            }
            let Some(words) = split_line(&line) else {
                println!("Invalid argument(s)");
                continue;
            };
            let Some(name) = words.first() else { continue };
            if name.eq_ignore_ascii_case(b"quit") || name.eq_ignore_ascii_case(b"exit") {
                return Ok(());
            }
            match self.send_and_print(&words) {
                Err(Failure::Message(e)) if is_asked => eprintln!("{e}"),
                done => done?,
            }
        }
    }
}

/// Writes a reply for another program: values only, one on each line.
fn write_raw(reply: &Reply, out: &mut Vec<u8>) {
    match reply {
        Reply::Status(text) | Reply::Bulk(Some(text)) => out.extend_from_slice(text),
        Reply::Error(text) => {
            out.extend_from_slice(text);
            out.push(b'\n');
        }
        Reply::Integer(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Reply::Bulk(None) | Reply::Array(None) => {}
        Reply::Array(Some(all)) => {
            for (nth, one) in all.iter().enumerate() {
                if nth > 0 {
                    out.push(b'\n');
                }
                write_raw(one, out);
            }
        }
    }
}

/// Writes a reply for people. The lines of an array within another one begin with `prefix`.
pub(super) fn write_for_terminal(reply: &Reply, prefix: &str, out: &mut Vec<u8>) {
    match reply {
        Reply::Status(text) => out.extend_from_slice(text),
        Reply::Error(text) => {
            out.extend_from_slice(b"(error) ");
            out.extend_from_slice(text);
        }
        Reply::Integer(number) => out.extend_from_slice(format!("(integer) {number}").as_bytes()),
        Reply::Bulk(Some(text)) => write_quoted(text, out),
        Reply::Bulk(None) | Reply::Array(None) => out.extend_from_slice(b"(nil)"),
        Reply::Array(Some(all)) if all.is_empty() => out.extend_from_slice(b"(empty array)"),
        Reply::Array(Some(all)) => {
            let width = all.len().to_string().len();
            let deeper = format!("{prefix}{}", " ".repeat(width + 2));
            for (nth, one) in all.iter().enumerate() {
                let before = if nth == 0 { "" } else { prefix };
                out.extend_from_slice(format!("{before}{:>width$}) ", nth + 1).as_bytes());
                write_for_terminal(one, &deeper, out);
            }
            return; // each element has ended its line
        }
    }
    out.push(b'\n');
}

fn write_quoted(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            7 => out.extend_from_slice(b"\\a"),
            8 => out.extend_from_slice(b"\\b"),
            b' '..=b'~' => out.push(*byte),
            other => out.extend_from_slice(format!("\\x{other:02x}").as_bytes()),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_end_where_the_command_begins() {
        let call = |line: &str| parse(line.split_whitespace().map(OsString::from).collect());
        let want = Call {
            host: "db".into(),
            port: 7000,
            fails_on_error: true,
            raw: Some(true),
            command: vec![b"get".to_vec(), b"-h".to_vec()],
        };
        assert_eq!(call("-h db -p 7000 -e --raw get -h"), Ok(Some(want)));
        assert_eq!(call("--help"), Ok(None));
        assert_eq!(call("-p 0 ping"), Err("invalid server port".into()));
        assert!(call("--bad").is_err() && call("-h").is_err());
    }

    #[test]
    fn replies_look_as_redis_cli_prints_them() {
        let text = |text: &str| Reply::Bulk(Some(text.as_bytes().to_vec()));
        let pair = Reply::Array(Some(vec![text("a"), text("b")]));
        let nested = Reply::Array(Some(vec![text("0"), pair, Reply::Array(Some(vec![])), Reply::Bulk(None)]));
        let (mut people, mut plain) = (Vec::new(), Vec::new());
        write_for_terminal(&nested, "", &mut people);
        write_raw(&nested, &mut plain);
        let want = "1) \"0\"\n2) 1) \"a\"\n   2) \"b\"\n3) (empty array)\n4) (nil)\n";
        assert_eq!(String::from_utf8(people).unwrap(), want);
        assert_eq!(String::from_utf8(plain).unwrap(), "0\na\nb\n\n");
    }
}
