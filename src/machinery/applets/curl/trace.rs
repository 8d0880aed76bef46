//! What `-v` shows of the two ways of an exchange, in curl's lines.

use super::super::http::{Answer, Progress};
use super::super::stdio::write_stderr;
use super::options::Options;
use super::report::Report;
use std::io::{self, IsTerminal};

/// Returns whether parts of bodies are announced. As in curl they are not where the body itself is
/// seen.
pub(super) fn announces_data(options: &Options, report: &Report) -> bool {
    options.verbose && !(report.file.is_none() && io::stdout().is_terminal())
}

/// Returns the lines of heads of an answer. `answer` is there if the head is whole, and its last
/// line is left out if the status ends the transfer (`-f`).
pub(super) fn format_heads(raw: &[u8], answer: Option<&Answer>, ends: bool) -> String {
    let (mut text, mut is_old) = (String::new(), false);
    let mut lines = raw.split_inclusive(|byte| *byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        let line = String::from_utf8_lossy(line);
        let is_blank = line.starts_with(['\r', '\n']);
        let lower = line.to_ascii_lowercase();
        if lower.starts_with("http/") {
            is_old = lower.starts_with("http/1.0");
            text += if is_old { "* HTTP 1.0, assume close after body\n" } else { "" };
        } else if is_old && lower.starts_with("connection:") && lower.contains("keep-alive") {
            text += "* HTTP/1.0 connection set to keep alive\n";
        }
        // Only the last head has its blank line shown.
        if is_blank && (lines.peek().is_some() || ends || answer.is_none()) {
            continue;
        }
        if is_blank && !is_old && answer.is_some_and(Answer::assumes_close) {
            text += "* no chunk, no close, no size. Assume close to signal end\n";
        }
        text += &format!("< {line}");
    }
    text
}

/// Returns how a body went. `with_head` if it was sent in one piece with the head, `announces` if
/// its parts are announced.
pub(super) fn describe_upload(
    progress: &Progress,
    chunked: bool,
    with_head: bool,
    announces: bool,
) -> String {
    let mut text = String::new();
    if progress.has_waited {
        text += "* Done waiting for 100-continue\n";
    }
    // In one piece with the head, the last chunk is there, too.
    let count = progress.first + if chunked && with_head { LAST_CHUNK } else { 0 };
    if progress.first > 0 && announces {
        text += &format!("}} [{count} bytes data]\n");
    }
    match (with_head, progress.is_whole, chunked) {
        (false, true, true) => {
            text += "* Signaling end of chunked upload via terminating chunk.\n";
            if announces {
                text += &format!("}} [{LAST_CHUNK} bytes data]\n");
            }
        }
        (false, true, false) if progress.first > 0 => text += "* We are completely uploaded and fine\n",
        _ => {}
    }
    text
}

/// Bytes of the chunk that ends a body.
const LAST_CHUNK: usize = b"0\r\n\r\n".len();

/// Announces the first part of a body of so many bytes.
pub(super) fn announce_data(options: &Options, report: &Report, count: usize) {
    if announces_data(options, report) {
        write_stderr(&format!("{{ [{count} bytes data]\n"));
    }
}

/// Tells what came behind the end of a body.
pub(super) fn note_excess(options: &Options, answer: &Answer, path: &str) {
    let (excess, before) = answer.excess();
    let path = path.split('?').next().unwrap_or_default();
    if !options.verbose || excess == 0 {
        return;
    }
    match answer.length {
        Some(0) => {
            write_stderr(&format!("* Excess found: excess = {excess} url = {path} (zero-length body)\n"))
        }
        Some(size) => write_stderr(&format!(
            "* Excess found in a read: excess = {excess}, size = {size}, maxdownload = {size}, \
             bytecount = {before}\n"
        )),
        None if answer.is_kept() => write_stderr(&format!("* Leftovers after chunking:  {excess}u bytes\n")),
        None => {}
    }
}
