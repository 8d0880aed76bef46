use super::*;
use crate::auth::user::User;
use crate::flowcontrol::flow::Flow;
use crate::flowcontrol::pool::Pool;
use crate::request::connections::Connections;
use crate::request::http::{BodyError, full};
use crate::request::sources::Known;

fn seat_of(pool: &Arc<Pool>) -> Arc<Seat> {
    let seat = Seat::new(None);
    seat.hold_place(pool.take(&Flow::of(&User::new("bob", &[])), 1).unwrap());
    seat
}

async fn data(body: &mut Body) -> Bytes {
    body.frame().await.unwrap().unwrap().into_data().unwrap()
}

/// Long or short, an answer holds its place until the connection has written the last byte of
/// it.
#[tokio::test(start_paused = true)]
async fn an_answer_holds_its_seat_to_its_last_byte() {
    let (pool, seats) = (Pool::new(8), Arc::new(Seats::default()));
    let long = Bytes::from(vec![7; 3 * PIECE + 1]);
    let mut body = seat_of(&pool).answer(full("short"), Patience::Answer, &seats);
    let piece = data(&mut body).await;
    assert!(body.is_end_stream() && piece == "short"[..]);
    drop(body);
    assert_eq!(pool.taken(), 1, "the connection has not written it");
    drop(piece);
    assert_eq!((pool.taken(), lock(&seats.open).len()), (0, 0));
    let mut body = seat_of(&pool).answer(full(long.clone()), Patience::Answer, &seats);
    assert_eq!(body.size_hint().exact(), Some(long.len() as u64));
    let first = data(&mut body).await;
    assert_eq!((first.len(), body.size_hint().exact()), (PIECE, Some(2 * PIECE as u64 + 1)));
    let rest = body.collect().await.unwrap().to_bytes();
    assert!([&first[..], &rest[..]].concat() == long[..]);
    assert_eq!(pool.taken(), 1);
    drop((first, rest));
    assert_eq!(pool.taken(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_goes_on_after_its_answer_keeps_its_place() {
    for outlives in [false, true] {
        let (pool, seats) = (Pool::new(8), Arc::new(Seats::default()));
        let answered = async || {
            let seat = seat_of(&pool);
            if outlives {
                seat.outlive_answer();
            }
            let body = seat.answer(full("504"), Patience::Answer, &seats);
            drop(body.collect().await.unwrap());
            seats.sweep();
            assert_eq!(pool.taken(), usize::from(outlives), "the write has a handle of the seat");
            seat
        };
        drop(answered().await);
        assert_eq!(pool.taken(), 0);
        let _write = answered().await;
        tokio::time::advance(ANSWER_TIME).await;
        seats.sweep();
        assert_eq!(pool.taken(), 0, "no write takes so long");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_reads_is_broken_off_and_its_connection_closed() {
    let (pool, seats) = (Pool::new(8), Arc::new(Seats::default()));
    let connections = Connections::new(8, Known::default());
    let counted = Arc::new(connections.admit("10.0.0.1:7".parse().unwrap()).unwrap());
    let answer = |patience, connection: Option<&Arc<Counted>>| {
        let seat = Seat::new(connection.cloned());
        seat.hold_place(pool.take(&Flow::of(&User::new("bob", &[])), 1).unwrap());
        seat.answer(full(vec![7; 9 * PIECE]), patience, &seats)
    };
    let late = ANSWER_TIME + Duration::from_millis(1);
    // A client that reads slowly: a whole answer has a time, a watch goes on.
    let (mut slow, mut watch) = (answer(Patience::Answer, None), answer(Patience::Watch, None));
    for _ in 0..3 {
        drop((data(&mut slow).await, data(&mut watch).await));
        tokio::time::advance(late / 3).await;
        seats.sweep();
    }
    assert_eq!(pool.taken(), 1, "what is broken off holds no place");
    assert!(slow.frame().await.unwrap().is_err(), "its client sees that something is missing");
    assert_eq!(data(&mut watch).await.len(), PIECE);
    drop((slow, watch));
    // One that takes nothing any more: what waits in its connection goes with the connection. A
    // log waits for its reader.
    for (patience, is_closed) in [(Patience::Session, false), (Patience::Watch, true)] {
        let mut body = answer(patience, Some(&counted));
        let _unwritten = data(&mut body).await;
        tokio::time::advance(late).await;
        seats.sweep();
        assert_eq!(counted.end.is_cancelled(), is_closed, "{patience:?}");
        assert_eq!(unread(&seats), 0, "nothing of it is kept");
    }
    assert_eq!(pool.taken(), 0);
}

/// Listed seats that keep something of their answer.
fn unread(seats: &Seats) -> usize {
    let open: Vec<_> = lock(&seats.open).values().filter_map(Weak::upgrade).collect();
    open.iter().filter(|seat| lock(&seat.answer).is_some()).count()
}

#[tokio::test(start_paused = true)]
async fn a_quiet_watch_whose_client_reads_goes_on() {
    let seats = Arc::new(Seats::default());
    let (mut sender, channel) = http_body_util::channel::Channel::<Bytes, BodyError>::new(4);
    let mut body = Seat::new(None).answer(channel.boxed_unsync(), Patience::Watch, &seats);
    sender.send_data("a".into()).await.unwrap();
    assert_eq!(data(&mut body).await, "a");
    assert!(futures::FutureExt::now_or_never(body.frame()).is_none(), "nothing more for now");
    tokio::time::advance(10 * ANSWER_TIME).await;
    seats.sweep();
    sender.send_data("b".into()).await.unwrap();
    assert_eq!(data(&mut body).await, "b");
}
