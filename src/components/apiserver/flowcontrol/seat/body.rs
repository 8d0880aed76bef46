//! The body of an answer, which holds its seat: it hands out pieces, and each piece counts until
//! the connection drops it.

use super::{PIECE, Seat, lock};
use crate::request::http::BodyError;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

/// The body of an answer, in pieces.
pub(super) struct Accounted {
    pub(super) seat: Arc<Seat>,
    pub(super) size: SizeHint,
}

/// Bytes that a connection is to write.
pub(super) struct Piece {
    bytes: Bytes,
    seat: Arc<Seat>,
}

impl Piece {
    /// Counts these bytes as unwritten until the connection drops them.
    pub(super) fn counted(bytes: Bytes, seat: &Arc<Seat>) -> Bytes {
        seat.unwritten.fetch_add(1, Ordering::AcqRel);
        Bytes::from_owner(Piece { bytes, seat: seat.clone() })
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.seat.moved();
        self.seat.unwritten.fetch_sub(1, Ordering::AcqRel);
    }
}

impl http_body::Body for Accounted {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        this.seat.is_taken.store(false, Ordering::Release);
        let mut answer = lock(&this.seat.answer);
        let Some(unread) = answer.as_mut() else {
            return Poll::Ready(match this.size.exact() {
                Some(0) => None,
                _ => Some(Err(BodyError("the answer was not read in time".into()))),
            });
        };
        if unread.rest.is_empty() {
            match std::task::ready!(Pin::new(&mut unread.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => unread.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                end => {
                    answer.take();
                    this.size = SizeHint::with_exact(0);
                    return Poll::Ready(end);
                }
            }
        }
        let piece = unread.rest.split_to(unread.rest.len().min(PIECE));
        drop(answer);
        if let Some(left) = this.size.exact() {
            this.size = SizeHint::with_exact(left.saturating_sub(piece.len() as u64));
        }
        this.seat.moved();
        this.seat.is_taken.store(true, Ordering::Release);
        Poll::Ready(Some(Ok(Frame::data(Piece::counted(piece, &this.seat)))))
    }

    fn is_end_stream(&self) -> bool {
        match self.size.exact() {
            Some(left) => left == 0,
            None => lock(&self.seat.answer)
                .as_ref()
                .is_some_and(|unread| unread.rest.is_empty() && unread.body.is_end_stream()),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.size
    }
}

impl Drop for Accounted {
    fn drop(&mut self) {
        self.seat.is_taken.store(false, Ordering::Release);
        self.seat.break_off();
    }
}
