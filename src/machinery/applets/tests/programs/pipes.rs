//! Output into a pipe without a reader.

use crate::Room;
use std::io::Read;
use std::process::Stdio;

/// 13 is SIGPIPE. `curl` reports the failure with its own status, and servers with theirs.
pub(crate) fn a_reader_that_is_gone_ends_a_program_quietly(room: &Room) {
    for (line, code) in [
        ("awk", None),
        ("find /nonexistent", None),
        ("xargs --unknown", None),
        ("watch", None),
        ("grep x /nonexistent", None),
        ("tar xf /nonexistent", None),
        ("yes", None),
        ("seq 1 100000", None),
        ("curl", Some(2)),
        ("curl -v http://127.0.0.1:1/", Some(7)),
        ("curl --help", Some(0)),
        ("nc", Some(1)),
        ("nc -v 127.0.0.1 1", Some(1)),
        ("kv-cli -p 1 PING", None),
        ("kv-server --port x", Some(1)),
        ("kv-server --help", Some(0)),
        ("nginx -x", Some(1)),
        ("nginx -v", Some(0)),
        ("echo-server no-port", Some(1)),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut words = line.split(' ');
        let mut command = room.program(words.next().unwrap());
        command.args(words).stdout(writer.try_clone().unwrap()).stderr(writer);
        let status = command.status().unwrap();
        use std::os::unix::process::ExitStatusExt;
        assert_eq!((status.code(), status.signal()), (code, code.is_none().then_some(13)), "{line}");
    }
    // A reader that takes one line of much.
    let mut command = room.program("sh");
    command.args(["-c", "seq 1 1000000; echo $? >&2"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut first = [0; 2];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    child.wait().unwrap();
    assert_eq!((&first, errors.as_str()), (b"1\n", "141\n"));
}
