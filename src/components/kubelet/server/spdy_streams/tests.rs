//! Tests of [`super`].

use super::super::remote_command::{LAST_INPUT, LeftPlaces};
use super::super::spdy::syn;
use super::super::tests::forwarding;
use super::*;
use tokio::task::JoinHandle;

/// Opens these streams as a client, and counts the frames with data that come until the connection
/// ends, or until nothing more comes for a while. Returns also whether the connection ended.
async fn count_answers(
    streams: &[(u32, &str, &str)],
    connections: Vec<tokio::io::DuplexStream>,
) -> (usize, bool) {
    let (near, far) = tokio::io::duplex(1 << 20);
    let (runtime, sandbox) = forwarding(connections).await;
    let served = tokio::spawn(ports(near, Arc::new(runtime), sandbox));
    let (read, mut write) = tokio::io::split(far);
    let mut deflate = super::super::spdy::client_deflate();
    for (stream, kind, id) in streams {
        let headers = [("streamtype", *kind), ("port", "80"), ("requestid", *id)];
        let _ = write.write_all(&syn(&mut deflate, *stream, &headers)).await; // it may have ended
    }
    let (mut reader, mut texts) = (Reader::new(read), 0);
    let listening = async {
        while let Ok(Some(frame)) = reader.next().await {
            texts += usize::from(matches!(&frame, Frame::Data { bytes, .. } if !bytes.is_empty()));
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(2), listening).await.is_ok();
    served.abort();
    (texts, ended)
}

#[tokio::test(start_paused = true)]
async fn a_connection_forwards_so_many_at_a_time_and_no_more() {
    let ids: Vec<String> = (0..PAIRS_MAX + 3).map(|n| n.to_string()).collect();
    let pairs = (0_u32..).step_by(4).zip(&ids);
    let streams: Vec<(u32, &str, &str)> =
        pairs.flat_map(|(n, id)| [(n + 1, "error", id.as_str()), (n + 3, "data", id.as_str())]).collect();
    let (mut pods, mut connections) = (Vec::new(), Vec::new());
    for _ in &ids {
        let (connection, pod) = tokio::io::duplex(64);
        connections.push(connection);
        pods.push(pod); // a port that says nothing and stays open
    }
    assert_eq!(count_answers(&streams, connections).await, (3, false));
}

#[tokio::test(start_paused = true)]
async fn a_port_that_does_not_read_is_closed_and_the_others_go_on() {
    let (near, far) = tokio::io::duplex(64 << 10);
    let ((connection, _silent), (other_connection, mut other)) =
        (tokio::io::duplex(64), tokio::io::duplex(64));
    let (runtime, sandbox) = forwarding([connection]).await;
    let served = tokio::spawn(ports(near, Arc::new(runtime.clone()), sandbox));
    let (read, mut write) = tokio::io::split(far);
    let mut deflate = super::super::spdy::client_deflate();
    let mut pair = |error: u32, id: &str| {
        let of = |kind| [("streamtype", kind), ("port", "80"), ("requestid", id)];
        let streams = [(error, of("error")), (error + 2, of("data"))];
        streams.iter().flat_map(|(n, headers)| syn(&mut deflate, *n, headers)).collect::<Vec<u8>>()
    };
    let data = |stream: u32, length: usize| {
        let head = [stream.to_be_bytes(), (length as u32).to_be_bytes()].concat();
        [head, vec![b'x'; length]].concat()
    };
    write.write_all(&pair(1, "silent")).await.unwrap();
    let mut reader = Reader::new(read);
    let heard = tokio::spawn(async move {
        while let Ok(Some(frame)) = reader.next().await {
            if let Frame::Data { stream: 1, fin, bytes } = frame {
                return (fin, String::from_utf8(bytes).unwrap());
            }
        }
        panic!("the connection ended");
    });
    for _ in 0..5 {
        write.write_all(&data(3, 1 << 20)).await.unwrap(); // more than may wait
    }
    runtime.give_connection(other_connection);
    write.write_all(&pair(5, "other")).await.unwrap();
    write.write_all(&data(7, 9)).await.unwrap();
    let mut bytes = [0; 9];
    tokio::time::timeout(Duration::from_secs(60), other.read_exact(&mut bytes)).await.unwrap().unwrap();
    assert_eq!(heard.await.unwrap(), (true, stalled(80)));
    served.abort();
}

/// kubectl resets the data stream when the client of its local port has gone.
#[tokio::test(start_paused = true)]
async fn a_reset_stream_closes_its_port_although_the_port_never_stops_writing() {
    let (near, far) = tokio::io::duplex(64 << 10);
    let (connection, mut pod) = tokio::io::duplex(64);
    let (runtime, sandbox) = forwarding([connection]).await;
    let served = tokio::spawn(ports(near, Arc::new(runtime), sandbox));
    let (read, mut write) = tokio::io::split(far);
    let mut deflate = super::super::spdy::client_deflate();
    for (stream, kind) in [(1, "error"), (3, "data")] {
        let headers = [("streamtype", kind), ("port", "80"), ("requestid", "0")];
        write.write_all(&syn(&mut deflate, stream, &headers)).await.unwrap();
    }
    let mut reader = Reader::new(read);
    let mut frame_of = async |wanted: u32| {
        loop {
            match reader.next().await {
                Ok(Some(Frame::Data { stream, fin, bytes })) if stream == wanted => return (fin, bytes),
                Ok(Some(_)) => {}
                _ => panic!("the connection ended"),
            }
        }
    };
    pod.write_all(b"x").await.unwrap();
    assert_eq!(frame_of(3).await, (false, b"x".to_vec()), "it is connected");
    let mut reset = vec![0x80, 3, 0, 3, 0, 0, 0, 8];
    reset.extend([0, 0, 0, 3, 0, 0, 0, 5]); // the stream, and the status CANCEL
    write.write_all(&reset).await.unwrap();
    let limit = Duration::from_secs(60);
    let end = tokio::time::timeout(limit, frame_of(1)).await.expect("the error stream ends");
    assert_eq!(end, (true, vec![]));
    let writes = async { while pod.write_all(b"more").await.is_ok() {} };
    tokio::time::timeout(limit, writes).await.expect("the connection to the port is closed");
    served.abort();
}

#[tokio::test(start_paused = true)]
async fn the_two_streams_of_a_connection_come_in_any_order() {
    for order in [["error", "data"], ["data", "error"]] {
        let streams = [(1, order[0], "a"), (3, order[1], "a")];
        assert_eq!(count_answers(&streams, Vec::new()).await, (1, false), "{order:?}: nothing listens there");
    }
}

#[tokio::test(start_paused = true)]
async fn error_streams_that_nothing_joins_end_the_connection() {
    let ids: Vec<String> = (0..=UNPAIRED_MAX).map(|n| n.to_string()).collect();
    let streams: Vec<(u32, &str, &str)> =
        (0_u32..).step_by(2).zip(&ids).map(|(n, id)| (n + 1, "error", id.as_str())).collect();
    assert_eq!(count_answers(&streams[1..], Vec::new()).await, (0, false));
    assert_eq!(count_answers(&streams, Vec::new()).await, (0, true));
    let long = "x".repeat(REQUEST_ID_MAX + 1);
    assert_eq!(count_answers(&[(1, "error", long.as_str())], Vec::new()).await, (0, true));
}

#[tokio::test(start_paused = true)]
async fn a_client_of_the_oldest_protocol_opens_no_stream_for_the_size_of_its_terminal() {
    let begins = async |protocol: &'static str| {
        let (near, far) = tokio::io::duplex(64 << 10);
        let (opened, open) = tokio::sync::oneshot::channel::<()>();
        let opening: Opening = Box::pin(async move {
            let _ = opened.send(());
            Err(::cri::Error::NotFound("the container".into()))
        });
        let options = StreamOptions {
            stdin: false,
            stdout: true,
            stderr: false,
            tty: true,
            is_exec: true,
            record: None,
            left: LeftPlaces::default(),
        };
        let served = tokio::spawn(process(near, protocol, options, opening));
        let (_read, mut write) = tokio::io::split(far);
        let mut deflate = super::super::spdy::client_deflate();
        for (stream, kind) in [(1, "error"), (3, "stdout")] {
            write.write_all(&syn(&mut deflate, stream, &[("streamtype", kind)])).await.unwrap();
        }
        let begins = tokio::time::timeout(Duration::from_secs(5), open).await.is_ok();
        served.abort();
        begins
    };
    assert!(begins(OLDEST).await);
    assert!(!begins("v4.channel.k8s.io").await, "that stream is still to come");
}

/// The client closes the connection behind its input.
#[tokio::test(start_paused = true)]
async fn a_command_takes_what_its_client_sent_before_it_left() {
    let (near, far) = tokio::io::duplex(64 << 10);
    let (stdin, mut input) = tokio::io::duplex(64 << 10);
    let (stdout, _open) = tokio::io::duplex(64);
    let (mut ends, exit) = tokio::sync::oneshot::channel::<i32>();
    let (stdin, stdout): (::cri::Writer, ::cri::Reader) = (Box::pin(stdin), Box::pin(stdout));
    let session = ::cri::Session { stdin: Some(stdin), stdout, stderr: None, resize: None, exit };
    let opening: Opening = Box::pin(async move { Ok(session) });
    let options = StreamOptions {
        stdin: true,
        stdout: true,
        stderr: false,
        tty: false,
        is_exec: true,
        record: None,
        left: LeftPlaces::default(),
    };
    tokio::spawn(process(near, "v4.channel.k8s.io", options, opening));
    let (read, mut write) = tokio::io::split(far);
    let mut deflate = super::super::spdy::client_deflate();
    for (stream, kind) in [(1, "error"), (3, "stdin"), (5, "stdout")] {
        write.write_all(&syn(&mut deflate, stream, &[("streamtype", kind)])).await.unwrap();
    }
    let head = [3_u32.to_be_bytes(), 10_000_u32.to_be_bytes()].concat();
    write.write_all(&[head, vec![b'x'; 10_000]].concat()).await.unwrap();
    drop((read, write));
    tokio::time::sleep(LAST_INPUT / 2).await;
    let mut all = Vec::new();
    input.read_to_end(&mut all).await.unwrap();
    assert_eq!((all.len(), ends.is_closed()), (10_000, false), "it is not killed yet");
    tokio::time::timeout(LAST_INPUT, ends.closed()).await.expect("it goes on, and is killed");
}

/// More than may wait, so that the end of the client is still unread when an answer to it fails.
#[tokio::test(start_paused = true)]
async fn what_a_client_sent_before_it_left_reaches_the_port_although_answers_fail() {
    const FRAMES: usize = 5;
    let (near, far) = tokio::io::duplex(8 << 20);
    let (connection, mut pod) = tokio::io::duplex(4 << 10);
    let (runtime, sandbox) = forwarding([connection]).await;
    let (read, mut write) = tokio::io::split(far);
    let mut deflate = super::super::spdy::client_deflate();
    for (stream, kind) in [(1, "error"), (3, "data")] {
        let headers = [("streamtype", kind), ("port", "80"), ("requestid", "0")];
        write.write_all(&syn(&mut deflate, stream, &headers)).await.unwrap();
    }
    let head = [3_u32.to_be_bytes(), (1_u32 << 20).to_be_bytes()].concat();
    let frame = [head, vec![b'x'; 1 << 20]].concat();
    for _ in 0..FRAMES {
        write.write_all(&frame).await.unwrap();
    }
    drop((read, write));
    let served = tokio::spawn(ports(near, Arc::new(runtime), sandbox));
    let mut all = Vec::new();
    pod.read_to_end(&mut all).await.unwrap();
    assert_eq!(all.len(), FRAMES << 20);
    served.await.unwrap();
}

/// Begins an exec of protocol 4 with these streams, from 1 on. Returns the client's side.
async fn begin(
    options: StreamOptions,
    open: Opening,
    streams: &[&str],
) -> (JoinHandle<()>, tokio::io::DuplexStream) {
    let (near, mut far) = tokio::io::duplex(64 << 10);
    let served = tokio::spawn(process(near, "v4.channel.k8s.io", options, open));
    let mut deflate = super::super::spdy::client_deflate();
    for (stream, kind) in (1_u32..).step_by(2).zip(streams) {
        far.write_all(&syn(&mut deflate, stream, &[("streamtype", *kind)])).await.unwrap();
    }
    (served, far)
}

/// What comes on this stream until the connection ends.
async fn rest<R: AsyncRead + Unpin>(from: R, wanted: u32) -> String {
    let (mut reader, mut all) = (Reader::new(from), Vec::new());
    while let Ok(Some(frame)) = reader.next().await {
        if let Frame::Data { stream, bytes, .. } = frame
            && stream == wanted
        {
            all.extend(bytes);
        }
    }
    String::from_utf8(all).unwrap()
}

fn options(stdin: bool) -> StreamOptions {
    StreamOptions {
        stdin,
        stdout: true,
        stderr: false,
        tty: false,
        is_exec: true,
        record: None,
        left: LeftPlaces::default(),
    }
}

/// It still sends pings.
#[tokio::test(start_paused = true)]
async fn a_client_that_reads_late_gets_everything() {
    let (ended, exit) = tokio::sync::oneshot::channel::<i32>();
    ended.send(0).unwrap();
    let stdout: ::cri::Reader = Box::pin(&b"output"[..]);
    let session = ::cri::Session { stdin: None, stdout, stderr: None, resize: None, exit };
    let opening: Opening = Box::pin(async move { Ok(session) });
    let (served, mut client) = begin(options(false), opening, &["error", "stdout"]).await;
    tokio::time::sleep(10 * CLOSING).await;
    let ping = [0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1];
    client.write_all(&ping).await.expect("the connection is still there");
    assert_eq!(rest(&mut client, 3).await, "output");
    drop(client);
    tokio::time::timeout(CLOSING, served).await.expect("it ends with its client").unwrap();
}

/// A client that is reset while it sends its input may not come to the answer.
#[tokio::test(start_paused = true)]
async fn the_input_of_a_command_that_cannot_begin_is_read() {
    let opening: Opening = Box::pin(async { Err(::cri::Error::NotFound("the container".into())) });
    let (served, mut client) = begin(options(true), opening, &["error", "stdin", "stdout"]).await;
    let head = [3_u32.to_be_bytes(), (1_u32 << 20).to_be_bytes()].concat();
    client.write_all(&[head, vec![b'x'; 1 << 20]].concat()).await.expect("it is taken");
    let status = rest(&mut client, 1).await;
    assert!(status.contains("InternalError"), "{status}");
    drop(client);
    tokio::time::timeout(CLOSING, served).await.expect("it ends with its client").unwrap();
}
