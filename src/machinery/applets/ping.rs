//! `ping`: ICMP echo over a datagram socket, which needs no rights where `ping_group_range` allows
//! it.

use super::resolve;
use linux::trap::{self, Action};
use nix::cmsg_space;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, recvmsg,
    sendto, setsockopt, socket, sockopt,
};
use std::ffi::OsString;
use std::io::IoSliceMut;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

const USAGE: &str = "Usage: ping [-q] [-c CNT] [-s SIZE] [-i SEC] [-W SEC] [-w SEC] HOST";

/// Without a pause nothing but sending would be done. The same bound as iputils' for users.
const INTERVAL_MIN: Duration = Duration::from_millis(2);

#[derive(Debug, PartialEq)]
struct Call {
    host: String,
    count: Option<u32>,
    size: usize,
    interval: Duration,
    /// How long `ping` waits for the last answer.
    patience: Duration,
    /// How long the whole call may take.
    limit: Option<Duration>,
    quiet: bool,
}

fn parse(args: &[String]) -> Result<Call, String> {
    let mut call = Call {
        host: String::new(),
        count: None,
        size: 56,
        interval: Duration::from_secs(1),
        patience: Duration::from_secs(10),
        limit: None,
        quiet: false,
    };
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let Some(option) = word.strip_prefix('-') else {
            call.host.clone_from(word);
            continue;
        };
        let (letter, rest) = option.split_at(option.chars().next().map_or(0, char::len_utf8));
        let mut value = || {
            let text = if rest.is_empty() { words.next().cloned() } else { Some(rest.to_string()) };
            text.ok_or(format!("option requires an argument -- '{letter}'"))
        };
        let bad = |text: String| format!("invalid number '{text}'");
        let seconds = |text: String| {
            let parsed = text.parse().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
            parsed.ok_or(bad(text))
        };
        match letter {
            "q" => call.quiet = true,
            "4" => {}
            "c" => call.count = Some(value().and_then(|t| t.parse().map_err(|_| bad(t)))?),
            "s" => call.size = value().and_then(|t| t.parse::<usize>().map_err(|_| bad(t)))?.min(65000),
            "i" => call.interval = value().and_then(seconds)?.max(INTERVAL_MIN),
            "W" => call.patience = value().and_then(seconds)?,
            "w" => call.limit = Some(value().and_then(seconds)?),
            _ => return Err(format!("unrecognized option: {letter}")),
        }
    }
    if call.host.is_empty() { Err(String::new()) } else { Ok(call) }
}

/// Returns the one's complement sum of RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn echo_request(id: u16, sequence: u16, size: usize) -> Vec<u8> {
    let mut packet = vec![8, 0, 0, 0];
    packet.extend(id.to_be_bytes());
    packet.extend(sequence.to_be_bytes());
    packet.resize(8 + size, 0);
    let sum = checksum(&packet);
    packet[2..4].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// Returns the sequence number of an echo reply; `id` is checked on raw sockets only, where the
/// kernel does not.
fn parse_echo_reply(packet: &[u8], id: Option<u16>) -> Option<u16> {
    let number = |at: usize| Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]));
    (packet.first() == Some(&0) && id.is_none_or(|id| number(4) == Some(id))).then(|| number(6)).flatten()
}

struct Socket {
    fd: OwnedFd,
    raw: bool,
}

fn open_socket() -> Result<Socket, Errno> {
    let make = |kind| socket(AddressFamily::Inet, kind, SockFlag::SOCK_CLOEXEC, SockProtocol::Icmp);
    let (fd, raw) = match make(SockType::Datagram) {
        Err(Errno::EACCES | Errno::EPERM) => (make(SockType::Raw)?, true),
        made => (made?, false),
    };
    setsockopt(&fd, sockopt::Ipv4RecvTtl, &true)?;
    Ok(Socket { fd, raw })
}

/// Counts and times. A ping that runs for weeks takes no more memory.
#[derive(Default)]
struct Tally {
    sent: u32,
    got: u32,
    /// The shortest time, the longest time and the sum of all.
    times: Option<(Duration, Duration, Duration)>,
}

impl Tally {
    fn summary(&self, host: &str) -> String {
        let got = self.got;
        let lost = u64::from(self.sent.saturating_sub(got)) * 100 / u64::from(self.sent.max(1));
        let mut text = format!(
            "\n--- {host} ping statistics ---\n{} packets transmitted, {got} packets received, {lost}% packet loss\n",
            self.sent
        );
        if let Some((min, max, all)) = self.times {
            let mean = all / got.max(1);
            text += &format!(
                "round-trip min/avg/max = {}/{}/{} ms\n",
                format_millis(min),
                format_millis(mean),
                format_millis(max)
            );
        }
        text
    }

    fn record_reply(&mut self, took: Duration) {
        self.got = self.got.saturating_add(1);
        let (min, max, all) = self.times.unwrap_or((took, took, Duration::ZERO));
        self.times = Some((min.min(took), max.max(took), all.saturating_add(took)));
    }
}

fn format_millis(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64() * 1000.0)
}

pub(crate) fn main(args: Vec<OsString>) -> i32 {
    let args = crate::arguments_as_text(args);
    let call = match parse(&args) {
        Ok(call) => call,
        Err(what) => {
            if !what.is_empty() {
                eprintln!("ping: {what}");
            }
            eprintln!("{USAGE}");
            return 1;
        }
    };
    let found = resolve::addresses(&call.host, None).unwrap_or_default();
    let Some(ip) = found.iter().find_map(|ip| if let IpAddr::V4(ip) = ip { Some(*ip) } else { None }) else {
        eprintln!("ping: bad address '{}'", call.host);
        return 1;
    };
    let socket = match open_socket() {
        Ok(socket) => socket,
        Err(Errno::EACCES | Errno::EPERM) => {
            eprintln!("ping: permission denied (are you root?)");
            return 1;
        }
        Err(e) => {
            eprintln!("ping: cannot make a socket: {}", e.desc());
            return 1;
        }
    };
    let _ = trap::set(libc::SIGINT, Action::Note); // ^C still prints the tally
    println!("PING {} ({ip}): {} data bytes", call.host, call.size);
    let tally = send_and_count(&call, &socket, ip);
    print!("{}", tally.summary(&call.host));
    i32::from(has_failed(&call, tally.got))
}

/// Returns whether so few answers are a failure: none at all, or with `-w` fewer than `-c` asks
/// for. As in busybox, `-c` alone fails only without any answer.
fn has_failed(call: &Call, answers: u32) -> bool {
    answers == 0 || (call.limit.is_some() && call.count.is_some_and(|count| answers < count))
}

/// Returns the moment that is so much later. One beyond what the clock counts is a year away, which
/// no run of `ping` reaches.
fn after(moment: Instant, wait: Duration) -> Instant {
    moment.checked_add(wait).unwrap_or(moment + Duration::from_secs(365 * 86_400))
}

fn send_and_count(call: &Call, socket: &Socket, ip: Ipv4Addr) -> Tally {
    let start = Instant::now();
    let id = std::process::id() as u16;
    let to = SockaddrIn::from(SocketAddrV4::new(ip, 0));
    let mut tally = Tally::default();
    let mut sent_at = std::collections::BTreeMap::new();
    let mut next = start;
    loop {
        let now = Instant::now();
        let over = call.limit.is_some_and(|limit| now - start >= limit);
        if over || trap::pending().is_some() {
            return tally;
        }
        let all_sent = call.count.is_some_and(|count| tally.sent >= count);
        if !all_sent && now >= next {
            let sequence = tally.sent as u16;
            match sendto(
                socket.fd.as_raw_fd(),
                &echo_request(id, sequence, call.size),
                &to,
                MsgFlags::empty(),
            ) {
                Ok(_) => {
                    sent_at.insert(sequence, now);
                }
                Err(e) => eprintln!("ping: sendto: {}", e.desc()),
            }
            tally.sent = tally.sent.saturating_add(1);
            next = after(now, call.interval);
            continue;
        }
        if all_sent && sent_at.is_empty() {
            return tally;
        }
        let last = sent_at.values().max().copied().unwrap_or(now);
        let mut until = if all_sent { after(last, call.patience) } else { next };
        if all_sent && now >= until {
            return tally;
        }
        if let Some(limit) = call.limit {
            until = until.min(after(start, limit));
        }
        receive(call, socket, id, until.saturating_duration_since(now), &mut sent_at, &mut tally);
    }
}

/// Takes one answer, or waits in vain.
fn receive(
    call: &Call,
    socket: &Socket,
    id: u16,
    wait: Duration,
    sent_at: &mut std::collections::BTreeMap<u16, Instant>,
    tally: &mut Tally,
) {
    let wait = PollTimeout::try_from(wait + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX);
    let mut polled = [PollFd::new(socket.fd.as_fd(), PollFlags::POLLIN)];
    if !matches!(poll(&mut polled, wait), Ok(1..)) {
        return; // the time is up, or a signal came
    }
    let mut buffer = vec![0; call.size + 128];
    let mut space = cmsg_space!(libc::c_int);
    let mut slices = [IoSliceMut::new(&mut buffer)];
    let received =
        recvmsg::<SockaddrIn>(socket.fd.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::empty());
    let (length, from, ttl) = match received {
        Ok(message) => {
            let ttl = message.cmsgs().ok().and_then(|mut all| {
                all.find_map(|c| if let ControlMessageOwned::Ipv4Ttl(ttl) = c { Some(ttl) } else { None })
            });
            (message.bytes, message.address, ttl)
        }
        Err(_) => return, // an error report about a packet of ours: it counts as lost
    };
    let packet = &buffer[..length];
    // A raw socket gives the IP header too.
    let header = if socket.raw { packet.first().map_or(0, |b| usize::from(b & 15) * 4) } else { 0 };
    let icmp = packet.get(header..).unwrap_or_default();
    let Some(sequence) = parse_echo_reply(icmp, socket.raw.then_some(id)) else { return };
    let Some(sent) = sent_at.remove(&sequence) else { return };
    let took = sent.elapsed();
    tally.record_reply(took);
    if !call.quiet {
        let from = from.map_or(Ipv4Addr::UNSPECIFIED, |a| a.ip());
        let ttl = ttl.map_or(String::new(), |ttl| format!(" ttl={ttl}"));
        println!("{} bytes from {from}: seq={sequence}{ttl} time={} ms", icmp.len(), format_millis(took));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_summed_and_recognized() {
        let packet = echo_request(0x1234, 7, 5);
        assert_eq!((packet.len(), checksum(&packet)), (13, 0));
        let mut answer = packet.clone();
        answer[0] = 0;
        assert_eq!(parse_echo_reply(&answer, Some(0x1234)), Some(7));
        assert_eq!(parse_echo_reply(&answer, Some(1)), None);
        assert_eq!(parse_echo_reply(&packet, None), None);
        assert_eq!(parse_echo_reply(&[0], None), None);
    }

    #[test]
    fn options_are_busyboxs() {
        let call = parse(&["-c3".into(), "-W".into(), "0.5".into(), "web".into()]).unwrap();
        assert_eq!(
            (call.count, call.patience, call.host.as_str()),
            (Some(3), Duration::from_millis(500), "web")
        );
        let call = parse(&["-i0".into(), "-c".into(), "100000".into(), "web".into()]).unwrap();
        assert_eq!((call.count, call.interval), (Some(100_000), INTERVAL_MIN));
        assert_eq!(parse(&["-c".into(), "x".into()]), Err("invalid number 'x'".into()));
    }

    #[test]
    fn a_wait_may_be_longer_than_the_clock_counts() {
        let now = Instant::now();
        assert_eq!(after(now, Duration::from_secs(5)), now + Duration::from_secs(5));
        let call = parse(&["-w".into(), "9999999999999999999".into(), "web".into()]).unwrap();
        assert!(after(now, call.limit.unwrap()) > now + Duration::from_secs(86_400));
    }

    /// The exit codes of busybox 1.35.
    #[test]
    fn a_limit_makes_a_missing_answer_a_failure() {
        for (line, answers, fails) in [
            ("-c 3 web", 0, true),
            ("-c 3 web", 2, false),
            ("-w 2 web", 2, false),
            ("-c 3 -w 2 web", 2, true),
            ("-c 3 -w 2 web", 3, false),
        ] {
            let call = parse(&line.split(' ').map(String::from).collect::<Vec<_>>()).unwrap();
            assert_eq!(has_failed(&call, answers), fails, "{line}: {answers}");
        }
    }

    #[test]
    fn losses_are_counted() {
        let mut tally = Tally { sent: 4, ..Tally::default() };
        for took in [2, 4] {
            tally.record_reply(Duration::from_millis(took));
        }
        assert_eq!(
            tally.summary("web"),
            "\n--- web ping statistics ---\n4 packets transmitted, 2 packets received, 50% packet loss\n\
             round-trip min/avg/max = 2.000/3.000/4.000 ms\n"
        );
    }
}
