//! A stream that keeps what is written to it in memory.

use parking_lot::{Mutex, MutexGuard};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Says which bytes are kept, the first or the last ones, and how many at most.
#[derive(Clone, Copy)]
enum Bound {
    First(usize),
    Last(usize),
}

/// Keeps up to a number of bytes of what is written to it, the first ones or the last ones, and
/// drops the rest. Clones share what is kept.
#[derive(Clone)]
pub struct Kept {
    bytes: Arc<Mutex<Vec<u8>>>,
    bound: Bound,
}

impl Kept {
    /// Keeps the first `most` bytes.
    pub fn up_to(most: usize) -> Kept {
        Kept { bytes: Arc::default(), bound: Bound::First(most) }
    }

    /// Keeps the last `most` bytes, as a log is read: what was written last counts.
    pub fn from_the_end(most: usize) -> Kept {
        Kept { bytes: Arc::default(), bound: Bound::Last(most) }
    }

    /// Keeps everything, without a bound: for output that is known to be small.
    #[cfg(test)]
    pub(crate) fn all() -> Kept {
        Kept::up_to(usize::MAX)
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock()
    }

    /// Appends bytes, and drops those that the bound does not allow.
    pub fn push(&self, bytes: &[u8]) {
        let mut kept = self.bytes();
        match self.bound {
            Bound::First(most) => {
                let room = most.saturating_sub(kept.len());
                kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            Bound::Last(most) => {
                kept.extend_from_slice(bytes);
                // One byte more than the text may have is kept: by it `text` knows that bytes were
                // dropped. They are not dropped with every write, because that moves all bytes that
                // stay.
                if kept.len() > most.saturating_mul(2) {
                    let gone = kept.len().saturating_sub(most.saturating_add(1));
                    kept.drain(..gone);
                }
            }
        }
    }

    /// Takes what was kept so far: at most as many bytes as the bound allows.
    pub(crate) fn take(&self) -> Vec<u8> {
        let mut taken = std::mem::take(&mut *self.bytes());
        if let Bound::Last(most) = self.bound {
            let gone = taken.len().saturating_sub(most);
            taken.drain(..gone);
        }
        taken
    }

    /// What was kept so far, as text; bytes that are not UTF-8 become U+FFFD. It stays kept. Where
    /// the end is kept, the rest of a line whose beginning is gone is left out; a single line that
    /// is too long keeps its end.
    pub fn text(&self) -> String {
        let kept = self.bytes();
        let text = match self.bound {
            Bound::First(_) => &kept[..],
            Bound::Last(most) => last_lines(&kept, most),
        };
        String::from_utf8_lossy(text).into_owned()
    }
}

/// Returns the whole lines among the last `most` bytes; the bytes, if they have no whole line.
fn last_lines(kept: &[u8], most: usize) -> &[u8] {
    let gone = kept.len().saturating_sub(most);
    let last = &kept[gone..];
    if gone == 0 || kept[gone - 1] == b'\n' {
        return last;
    }
    let next = last.iter().position(|b| *b == b'\n').map_or(0, |end| end + 1);
    if next < last.len() { &last[next..] } else { last }
}

impl tokio::io::AsyncWrite for Kept {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.push(bytes);
        Poll::Ready(Ok(bytes.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_output_the_first_bytes_are_kept() {
        let kept = Kept::up_to(5);
        for piece in ["abc", "def", "ghi"] {
            kept.push(piece.as_bytes());
        }
        assert_eq!(kept.text(), "abcde");
    }

    /// A program writes long lines: what it wrote last is what the learner has just caused.
    #[test]
    fn of_a_long_log_the_newest_lines_are_kept() {
        let tail = |lines: &[&str]| {
            let tail = Kept::from_the_end(10);
            lines.iter().for_each(|line| tail.push(line.as_bytes()));
            tail.text()
        };
        assert_eq!(tail(&["a\n", "b\n"]), "a\nb\n");
        assert_eq!(tail(&["an older line\n", "newest\n"]), "newest\n", "half a line is none");
        assert_eq!(tail(&["old\n", "123456789\n"]), "123456789\n", "a whole one is kept");
        assert_eq!(tail(&["a line that is too long\n"]), " too long\n");
        let all: Vec<String> = (0..100).map(|n| format!("{n}\n")).collect();
        assert_eq!(tail(&all.iter().map(String::as_str).collect::<Vec<_>>()), "97\n98\n99\n");
    }

    /// Between two drops the stream has up to twice the bound in memory.
    #[test]
    fn no_more_is_taken_than_the_bound_allows() {
        for (kept, taken) in [
            (Kept::from_the_end(5), "jklmn"),
            (Kept::from_the_end(50), "abcdefghijklmn"),
            (Kept::up_to(5), "abcde"),
        ] {
            ["abcdef", "ghijk", "lmn"].iter().for_each(|piece| kept.push(piece.as_bytes()));
            assert_eq!(String::from_utf8(kept.take()).as_deref(), Ok(taken));
            assert!(kept.take().is_empty());
        }
        // Six bytes are not dropped from yet.
        let kept = Kept::from_the_end(5);
        kept.push(b"abcdef");
        assert_eq!(kept.take(), b"bcdef");
    }
}
