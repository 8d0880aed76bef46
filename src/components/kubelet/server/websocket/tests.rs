//! Tests of [`super`].

use super::super::remote_command::LeftPlaces;
use super::super::tests::forwarding;
use super::*;

#[tokio::test]
async fn as_many_ports_as_there_are_channels_are_announced_and_refused() {
    let (near, far) = tokio::io::duplex(1 << 10); // smaller than what is to be said
    let (runtime, sandbox) = forwarding([]).await;
    let all: Vec<u16> = (1..=u16::from(PORTS_MAX)).collect();
    let served = tokio::spawn(ports(near, Arc::new(runtime), sandbox, all));
    let client = WebSocketStream::from_raw_socket(far, Role::Client, None).await;
    let messages = async {
        let (_, mut source) = client.split();
        let (mut channels, mut last) = (Vec::new(), Bytes::new());
        while let Some(Ok(next)) = source.next().await {
            if let Some((channel, text)) = payload(&next) {
                channels.push(channel);
                last = text;
            }
        }
        (channels, last)
    };
    let (mut channels, last) = tokio::time::timeout(Duration::from_secs(10), messages).await.expect("an end");
    let last = String::from_utf8_lossy(&last);
    assert!(last.ends_with(" inside namespace: connection refused"), "no reason: {last}");
    assert_eq!(channels.len(), 3 * usize::from(PORTS_MAX), "two announcements and a refusal each");
    channels.sort_unstable(); // refusals come in any order
    assert_eq!((channels.first(), channels.last()), (Some(&0), Some(&255)));
    tokio::time::timeout(Duration::from_secs(10), served).await.expect("it ends").unwrap();
}

#[tokio::test]
async fn a_client_that_has_sent_all_still_gets_what_the_port_answers() {
    let (near, far) = tokio::io::duplex(1 << 10);
    let (connection, mut pod) = tokio::io::duplex(1 << 10);
    let (runtime, sandbox) = forwarding([connection]).await;
    let served = tokio::spawn(ports(near, Arc::new(runtime), sandbox, vec![80]));
    let (mut sink, mut source) = WebSocketStream::from_raw_socket(far, Role::Client, None).await.split();
    sink.send(message(0, b"question")).await.unwrap();
    sink.send(message(CLOSE, &[0])).await.unwrap();
    // A program that answers only once it has read all.
    let mut question = String::new();
    let read = pod.read_to_string(&mut question);
    tokio::time::timeout(Duration::from_secs(10), read).await.expect("the end reaches the pod").unwrap();
    assert_eq!(question, "question");
    pod.write_all(b"answer").await.unwrap();
    drop(pod);
    let mut answer = Vec::new();
    while let Some(Ok(next)) = source.next().await {
        if let Some((0, bytes)) = payload(&next) {
            answer.extend_from_slice(&bytes);
        }
    }
    assert_eq!(answer, [&80_u16.to_le_bytes()[..], b"answer"].concat());
    tokio::time::timeout(Duration::from_secs(10), served).await.expect("it ends").unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_port_that_does_not_read_or_is_gone_leaves_the_others_alone() {
    let (near, far) = tokio::io::duplex(64 << 10);
    let (connections, pods): (Vec<_>, Vec<_>) = (0..3).map(|_| tokio::io::duplex(64)).unzip();
    let mut pods: Vec<_> = pods.into_iter().map(Some).collect();
    let (runtime, sandbox) = forwarding(connections).await;
    let served = tokio::spawn(ports(near, Arc::new(runtime), sandbox, vec![80, 81, 82]));
    let (mut sink, mut source) = WebSocketStream::from_raw_socket(far, Role::Client, None).await.split();
    let heard = tokio::spawn(async move {
        let mut errors = Vec::new();
        while let Some(Ok(next)) = source.next().await {
            let next = payload(&next).filter(|(channel, bytes)| channel % 2 == 1 && bytes.len() > 2);
            errors.extend(next.map(|(_, bytes)| String::from_utf8_lossy(&bytes).into_owned()));
        }
        errors
    });
    // The connections are given away in some order: two of the channels lead to pods that are
    // there, one of them silent.
    drop(pods[1].take());
    sink.send(message(2, b"nobody")).await.unwrap();
    let (mut first, mut last) = (pods[0].take().unwrap(), pods[2].take().unwrap());
    sink.send(message(0, b"a")).await.unwrap();
    let first_is_80 = tokio::select! {
        _ = first.read_u8() => true,
        _ = last.read_u8() => false,
    };
    let mut other = if first_is_80 { last } else { first };
    for _ in 0..5 {
        sink.send(message(0, &vec![b'x'; MESSAGE_MAX - 1])).await.unwrap(); // more than may wait
    }
    sink.send(message(4, b"z")).await.unwrap();
    let read = tokio::time::timeout(Duration::from_secs(60), other.read_u8()).await;
    assert_eq!(read.unwrap().unwrap(), b'z');
    drop((sink, other));
    served.await.unwrap();
    assert_eq!(heard.await.unwrap(), [stalled(80)]);
}

#[tokio::test]
async fn what_a_client_sent_before_it_left_reaches_the_port() {
    let (near, far) = tokio::io::duplex(64 << 10);
    let (connection, mut pod) = tokio::io::duplex(64);
    let (runtime, sandbox) = forwarding([connection]).await;
    let served = tokio::spawn(ports(near, Arc::new(runtime), sandbox, vec![80]));
    let mut client = WebSocketStream::from_raw_socket(far, Role::Client, None).await;
    for announced in 0..2 {
        let next = client.next().await.unwrap().unwrap();
        assert_eq!(payload(&next).map(|(channel, _)| channel), Some(announced));
    }
    client.send(message(0, &[b'x'; 10_000])).await.unwrap();
    drop(client);
    let mut all = Vec::new();
    let read = pod.read_to_end(&mut all);
    tokio::time::timeout(Duration::from_secs(10), read).await.expect("an end").unwrap();
    assert_eq!(all.len(), 10_000);
    served.await.unwrap();
}

#[tokio::test]
async fn a_message_beyond_the_bound_ends_its_connection() {
    let (near, far) = tokio::io::duplex(64 << 10);
    let (connection, _pod) = tokio::io::duplex(4 << 20); // takes both messages
    let (runtime, sandbox) = forwarding([connection]).await;
    let served = tokio::spawn(ports(near, Arc::new(runtime), sandbox, vec![80]));
    let (mut sink, source) = WebSocketStream::from_raw_socket(far, Role::Client, None).await.split();
    sink.send(message(0, &vec![b'x'; MESSAGE_MAX - 1])).await.expect("as long as a message may be");
    let _ = sink.send(message(0, &vec![b'x'; MESSAGE_MAX])).await; // it breaks off
    tokio::time::timeout(Duration::from_secs(10), served).await.expect("it ends").unwrap();
    drop((sink, source));
}

fn session(output: &'static [u8], code: i32) -> Opening {
    let (sender, exit) = tokio::sync::oneshot::channel();
    let _ = sender.send(code); // the exit is known before the output is read
    let session = cri::Session {
        stdin: None,
        stdout: Box::pin(output),
        stderr: Some(Box::pin(&b""[..])),
        resize: None,
        exit,
    };
    Box::pin(async move { Ok(session) })
}

/// An exec without input.
fn options() -> StreamOptions {
    StreamOptions {
        stdin: false,
        stdout: true,
        stderr: true,
        tty: false,
        is_exec: true,
        record: None,
        left: LeftPlaces::default(),
    }
}

async fn messages_of(protocol: &'static str, code: i32) -> Vec<(u8, String)> {
    let (near, far) = tokio::io::duplex(1 << 10);
    tokio::spawn(process(near, protocol, options(), session(b"output", code), || ()));
    let (_, mut source) = WebSocketStream::from_raw_socket(far, Role::Client, None).await.split();
    let mut all = Vec::new();
    while let Some(Ok(next)) = source.next().await {
        let next = Coding::of(protocol).payload(&next);
        all.extend(next.map(|(channel, bytes)| (channel, String::from_utf8_lossy(&bytes).into_owned())));
    }
    all
}

#[tokio::test]
async fn the_oldest_protocol_has_a_text_for_a_failure_and_no_message_for_a_success() {
    let output = (1, "output".to_string());
    let failed = (3, "command terminated with non-zero exit code: exit status 3".to_string());
    for protocol in ["channel.k8s.io", "base64.channel.k8s.io"] {
        assert_eq!(messages_of(protocol, 0).await, std::slice::from_ref(&output));
        assert_eq!(messages_of(protocol, 3).await, [output.clone(), failed.clone()]);
    }
    for protocol in ["v5.channel.k8s.io", "v4.base64.channel.k8s.io"] {
        let all = messages_of(protocol, 0).await;
        assert_eq!(all[0], output);
        assert!(all.len() == 2 && all[1].0 == 3 && all[1].1.contains("Success"), "{all:?}");
    }
}

/// It still sends pings, as kubectl does.
#[tokio::test(start_paused = true)]
async fn a_client_that_reads_late_gets_everything() {
    let (near, far) = tokio::io::duplex(64 << 10);
    let served = tokio::spawn(process(near, "v5.channel.k8s.io", options(), session(b"output", 0), || ()));
    let (mut sink, mut source) = WebSocketStream::from_raw_socket(far, Role::Client, None).await.split();
    tokio::time::sleep(10 * CLOSING).await;
    sink.send(Message::Ping(Bytes::new())).await.expect("the connection is still there");
    let mut channels = Vec::new();
    while let Some(Ok(next)) = source.next().await {
        channels.extend(payload(&next).map(|(channel, _)| channel));
    }
    assert_eq!(channels, [1, 3]);
    drop((sink, source));
    tokio::time::timeout(CLOSING, served).await.expect("it ends with its client").unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_late_gets_all_that_a_port_answered() {
    let (near, far) = tokio::io::duplex(64 << 10);
    let (connection, mut pod) = tokio::io::duplex(1 << 10);
    let (runtime, sandbox) = forwarding([connection]).await;
    let served = tokio::spawn(ports(near, Arc::new(runtime), sandbox, vec![80]));
    let (mut sink, mut source) = WebSocketStream::from_raw_socket(far, Role::Client, None).await.split();
    pod.write_all(b"answer").await.unwrap();
    drop(pod);
    tokio::time::sleep(10 * CLOSING).await;
    sink.send(Message::Ping(Bytes::new())).await.expect("the connection is still there");
    let mut answer = Vec::new();
    while let Some(Ok(next)) = source.next().await {
        if let Some((0, bytes)) = payload(&next) {
            answer.extend_from_slice(&bytes);
        }
    }
    assert_eq!(answer, [&80_u16.to_le_bytes()[..], b"answer"].concat());
    drop((sink, source));
    tokio::time::timeout(CLOSING, served).await.expect("it ends with its client").unwrap();
}
