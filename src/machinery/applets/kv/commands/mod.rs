//! The commands: a table, and what calls them. Replies and errors are those of Redis 7; the file
//! `replies.txt` has some that a real one gave.

mod hashes;
mod keys;
mod lists;
mod server;
mod sets;
mod strings;

use super::resp::{Replies, Words, parse_integer};
use super::store::{Database, Fault};

/// Data beyond this is refused, in bytes as [`Database::used_bytes`] counts them.
pub(super) const MEMORY_MAX: usize = 64 << 20;

pub(super) const NO_INTEGER: Fault = Fault::Borrowed("ERR value is not an integer or out of range");
pub(super) const SYNTAX: Fault = Fault::Borrowed("ERR syntax error");
const OUT_OF_MEMORY: Fault = Fault::Borrowed("OOM command not allowed when used memory > 'maxmemory'.");

/// What a command does to the data, beyond its reply.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Does {
    Read,
    /// The command keeps no more memory than there was before.
    Shrink,
    Grow,
}

struct Command {
    name: &'static str,
    /// How many words it has with its name; at least so many if negative. As `COMMAND INFO` of
    /// Redis says it.
    arity: i32,
    does: Does,
    run: fn(&mut Call) -> Result<(), Fault>,
}

const fn command(
    name: &'static str,
    arity: i32,
    does: Does,
    run: fn(&mut Call) -> Result<(), Fault>,
) -> Command {
    Command { name, arity, does, run }
}

use Does::{Grow, Read, Shrink};

const COMMANDS: &[Command] = &[
    command("append", 3, Grow, strings::append),
    command("bgsave", -1, Read, server::bgsave),
    command("client", -2, Read, server::client),
    command("command", -1, Read, server::command),
    command("dbsize", 1, Read, keys::dbsize),
    command("decr", 2, Grow, strings::decr),
    command("decrby", 3, Grow, strings::decrby),
    command("del", -2, Shrink, keys::del),
    command("echo", 2, Read, server::echo),
    command("exists", -2, Read, keys::exists),
    command("expire", -3, Shrink, keys::expire),
    command("expireat", -3, Shrink, keys::expireat),
    command("flushall", -1, Shrink, keys::flush),
    command("flushdb", -1, Shrink, keys::flush),
    command("get", 2, Read, strings::get),
    command("getdel", 2, Shrink, strings::getdel),
    command("getset", 3, Grow, strings::getset),
    command("hdel", -3, Shrink, hashes::hdel),
    command("hexists", 3, Read, hashes::hexists),
    command("hget", 3, Read, hashes::hget),
    command("hgetall", 2, Read, hashes::hgetall),
    command("hincrby", 4, Grow, hashes::hincrby),
    command("hkeys", 2, Read, hashes::hkeys),
    command("hlen", 2, Read, hashes::hlen),
    command("hmget", -3, Read, hashes::hmget),
    command("hset", -4, Grow, hashes::hset),
    command("hsetnx", 4, Grow, hashes::hsetnx),
    command("hvals", 2, Read, hashes::hvals),
    command("incr", 2, Grow, strings::incr),
    command("incrby", 3, Grow, strings::incrby),
    command("info", -1, Read, server::info),
    command("keys", 2, Read, keys::keys),
    command("lindex", 3, Read, lists::lindex),
    command("llen", 2, Read, lists::llen),
    command("lpop", -2, Shrink, lists::lpop),
    command("lpush", -3, Grow, lists::lpush),
    command("lrange", 4, Read, lists::lrange),
    command("mget", -2, Read, strings::mget),
    command("mset", -3, Grow, strings::mset),
    command("persist", 2, Shrink, keys::persist),
    command("pexpire", -3, Shrink, keys::pexpire),
    command("pexpireat", -3, Shrink, keys::pexpireat),
    command("ping", -1, Read, server::ping),
    command("psetex", 4, Grow, strings::psetex),
    command("pttl", 2, Read, keys::pttl),
    command("quit", -1, Read, server::quit),
    command("rename", 3, Shrink, keys::rename),
    command("rpop", -2, Shrink, lists::rpop),
    command("rpush", -3, Grow, lists::rpush),
    command("sadd", -3, Grow, sets::sadd),
    command("save", 1, Read, server::save),
    command("scan", -2, Read, keys::scan),
    command("scard", 2, Read, sets::scard),
    command("select", 2, Read, server::select),
    command("set", -3, Grow, strings::set),
    command("setex", 4, Grow, strings::setex),
    command("setnx", 3, Grow, strings::setnx),
    command("sismember", 3, Read, sets::sismember),
    command("smembers", 2, Read, sets::smembers),
    command("srem", -3, Shrink, sets::srem),
    command("strlen", 2, Read, strings::strlen),
    command("time", 1, Read, server::time),
    command("ttl", 2, Read, keys::ttl),
    command("type", 2, Read, keys::kind),
    command("unlink", -2, Shrink, keys::del),
];

/// The server, as `INFO` tells of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub port: u16,
    pub uptime_seconds: u64,
    pub clients: usize,
    /// Bytes of the log; `None` if nothing is kept on a disk.
    pub log_size: Option<u64>,
}

/// What has to be done after a command beside its reply.
#[derive(Default, Debug, PartialEq, Eq)]
pub(super) struct Effects {
    /// Commands that change the data in the same way whenever they are run: for the log.
    pub records: Vec<Words>,
    /// The client wants to leave.
    pub closes: bool,
    /// The log is to be rewritten.
    pub saves: bool,
}

/// A command that is being run.
struct Call<'a> {
    db: &'a mut Database,
    /// With its name.
    words: Words,
    out: &'a mut Replies,
    /// Milliseconds since 1970.
    now: i64,
    facts: &'a Facts,
    name: &'a mut Vec<u8>,
    effects: Effects,
}

impl Call<'_> {
    fn argument(&self, at: usize) -> &[u8] {
        self.words.get(at).map_or(&[], Vec::as_slice)
    }

    /// Takes a word, which is needed no more.
    fn take_argument(&mut self, at: usize) -> Vec<u8> {
        self.words.get_mut(at).map(std::mem::take).unwrap_or_default()
    }

    fn key(&self) -> Vec<u8> {
        self.argument(1).to_vec()
    }

    fn number(&self, at: usize) -> Result<i64, Fault> {
        parse_integer(self.argument(at)).ok_or(NO_INTEGER)
    }

    /// Records that the command has changed the data, and does the same when it is run again.
    fn record(&mut self) {
        self.effects.records.push(self.words.clone());
    }

    /// Records another command, which changes the data as this one has.
    fn record_as(&mut self, words: &[&[u8]]) {
        self.effects.records.push(words.iter().map(|word| word.to_vec()).collect());
    }

    fn wrong_arity(&self) -> Fault {
        let name = String::from_utf8_lossy(self.argument(0)).to_lowercase();
        format!("ERR wrong number of arguments for '{name}' command").into()
    }

    fn is_word(&self, at: usize, word: &str) -> bool {
        self.argument(at).eq_ignore_ascii_case(word.as_bytes())
    }
}

/// A client's own state.
#[derive(Default)]
pub(super) struct Session {
    name: Vec<u8>,
}

/// Runs one command and writes its reply. What has expired is removed first.
pub(super) fn run(
    db: &mut Database,
    session: &mut Session,
    words: Words,
    (now, facts): (i64, &Facts),
    out: &mut Replies,
) -> Effects {
    let gone = db.remove_expired(now).into_iter().map(|key| vec![b"DEL".to_vec(), key]).collect();
    let effects = Effects { records: gone, ..Effects::default() };
    let mut call = Call { db, words, out, now, facts, name: &mut session.name, effects };
    let before = call.effects.records.len();
    let done =
        find_allowed_command(&call.words, call.db.used_bytes()).and_then(|command| (command.run)(&mut call));
    if done.is_err() {
        call.effects.records.truncate(before);
    }
    let Call { effects, out, .. } = call;
    out.finish(done);
    effects
}

/// Finds the command, and refuses what it must not do.
fn find_allowed_command(words: &Words, used: usize) -> Result<&'static Command, Fault> {
    let name = words.first().map_or(&[][..], Vec::as_slice);
    let found = COMMANDS.iter().find(|command| name.eq_ignore_ascii_case(command.name.as_bytes()));
    let Some(command) = found else { return Err(unknown_command(words)) };
    let fits = match usize::try_from(command.arity) {
        Ok(exactly) => words.len() == exactly,
        Err(_) => words.len() >= command.arity.unsigned_abs() as usize,
    };
    if !fits {
        return Err(format!("ERR wrong number of arguments for '{}' command", command.name).into());
    }
    if command.does == Grow && used > MEMORY_MAX {
        return Err(OUT_OF_MEMORY);
    }
    Ok(command)
}

/// Letters of a name or of arguments that an error repeats.
const REPEATED_MAX: usize = 128;

fn unknown_command(words: &Words) -> Fault {
    let shown =
        |word: &[u8], most: usize| String::from_utf8_lossy(&word[..word.len().min(most)]).into_owned();
    let mut arguments = String::new();
    for word in words.iter().skip(1) {
        if arguments.len() >= REPEATED_MAX {
            break;
        }
        arguments += &format!("'{}' ", shown(word, REPEATED_MAX - arguments.len()));
    }
    let name = shown(words.first().map_or(&[][..], Vec::as_slice), REPEATED_MAX);
    format!("ERR unknown command '{name}', with args beginning with: {arguments}").into()
}

/// Runs a command of the log again.
///
/// # Errors
/// It is none that changes data, or cannot be run: the log is not what was written.
pub(super) fn replay(db: &mut Database, words: Words) -> Result<(), Fault> {
    let command = find_allowed_command(&words, 0)?;
    if command.does == Read {
        return Err(format!("ERR '{}' changes no data", command.name).into());
    }
    let (mut replies, mut name, facts) = (Replies::default(), Vec::new(), Facts::default());
    let mut call = Call {
        db,
        words,
        out: &mut replies,
        now: i64::MIN,
        facts: &facts,
        name: &mut name,
        effects: Effects::default(),
    };
    (command.run)(&mut call)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::resp::split_line;

    /// Replies as bytes, and what would be logged.
    fn play(db: &mut Database, now: i64, line: &str) -> (String, Vec<String>) {
        let mut replies = Replies::default();
        let words = split_line(line.as_bytes()).unwrap();
        let facts = Facts { port: 6379, ..Facts::default() };
        let effects = run(db, &mut Session::default(), words, (now, &facts), &mut replies);
        let text = |words: Words| {
            words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect::<Vec<_>>().join(" ")
        };
        let reply = String::from_utf8_lossy(&replies.take_finished()).into_owned();
        (reply, effects.records.into_iter().map(text).collect())
    }

    #[test]
    fn the_table_is_sorted_and_small() {
        assert!(COMMANDS.is_sorted_by_key(|command| command.name));
    }

    #[test]
    fn the_log_holds_times_that_do_not_move() {
        let mut db = Database::default();
        for (now, line, logged) in [
            (1000, "set a 1 ex 5", &["SET a 1 PXAT 6000"][..]),
            (1000, "set a 2 nx", &[]),
            (1000, "set a 3 keepttl", &["SET a 3 PXAT 6000"]),
            (5999, "expire a 10", &["PEXPIREAT a 15999"]),
            (15998, "get a", &[]),
            (15999, "get a", &["DEL a"]),
            (16000, "set a x px 1", &["SET a x PXAT 16001"]),
            (16002, "setnx a y", &["DEL a", "setnx a y"]),
            (16002, "expire a -1", &["DEL a"]),
            (16002, "incr n", &["incr n"]),
            (16002, "getset n 7", &["SET n 7"]),
            (16002, "rpush l a", &["rpush l a"]),
            (16002, "incr l", &[]),
            (16002, "lpop l", &["lpop l"]),
            (16002, "lpop l", &[]),
        ] {
            assert_eq!(play(&mut db, now, line).1, logged, "{line}");
        }
    }

    /// The options are those of Redis 7 (`expire.c`).
    #[test]
    fn a_time_may_depend_on_the_one_before() {
        let mut db = Database::default();
        for (line, reply, logged) in [
            ("set a 1", "+OK", &["SET a 1"][..]),
            ("expire a 10 xx", ":0", &[]),
            ("expire a 10 gt", ":0", &[]),
            ("expire a 10 nx", ":1", &["PEXPIREAT a 11000"]),
            ("expire a 20 nx", ":0", &[]),
            ("expire a 10 gt", ":0", &[]),
            ("expire a 10 lt", ":0", &[]),
            ("pexpire a 9000 lt", ":1", &["PEXPIREAT a 10000"]),
            ("expireat a 12 GT xx", ":1", &["PEXPIREAT a 12000"]),
            ("pexpireat a 500 gt", ":0", &[]),
            ("persist a", ":1", &["persist a"]),
            ("expire a 30 lt", ":1", &["PEXPIREAT a 31000"]),
            ("expire b 30 nx", ":0", &[]),
            ("expire a x soon", "-ERR Unsupported option soon", &[]),
            ("expire a 1 nx gt", "-ERR NX and XX, GT or LT options at the same time are not compatible", &[]),
            ("expire a 1 gt lt", "-ERR GT and LT options at the same time are not compatible", &[]),
            ("expire a -1 lt", ":1", &["DEL a"]),
        ] {
            let (text, records) = play(&mut db, 1000, line);
            assert_eq!(text.trim_end(), reply, "{line}");
            assert_eq!(records, logged, "{line}");
        }
    }

    #[test]
    fn several_sections_are_shown_at_once() {
        let sections = |line: &str| {
            let (text, _) = play(&mut Database::default(), 0, line);
            text.lines().filter_map(|line| line.strip_prefix("# ").map(String::from)).collect::<Vec<_>>()
        };
        assert_eq!(sections("info memory CLIENTS"), ["Clients", "Memory"]);
        assert_eq!(sections("info nothing keyspace"), ["Keyspace"]);
        assert_eq!((sections("info"), sections("info x").len()), (sections("info all"), 0));
    }

    #[test]
    fn full_memory_refuses_only_what_needs_more() {
        let mut db = Database::default();
        let value = "x".repeat(1 << 20);
        let mut n = 0;
        while db.used_bytes() <= MEMORY_MAX {
            assert_eq!(play(&mut db, 0, &format!("set k{n} {value}")).0, "+OK\r\n");
            n += 1;
        }
        let refused = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
        assert_eq!(play(&mut db, 0, "set a 1").0, refused);
        assert_eq!(play(&mut db, 0, "rpush l 1").0, refused);
        assert_eq!(play(&mut db, 0, "strlen k0").0, ":1048576\r\n");
        assert_eq!(play(&mut db, 0, "del k0 k1").0, ":2\r\n");
        assert_eq!(play(&mut db, 0, "set a 1").0, "+OK\r\n");
        let all = (2..n).map(|n| format!("k{n}")).collect::<Vec<_>>().join(" ");
        let (reply, _) = play(&mut db, 0, &format!("mget {all}"));
        assert_eq!(reply, "-ERR the reply would be longer than 33554432 bytes\r\n");
    }

    #[test]
    fn one_client_cannot_hide_lines_in_a_reply() {
        let mut db = Database::default();
        let (reply, _) = play(&mut db, 0, "\"fo\\r\\n+OK\\r\\n\" x");
        assert_eq!(reply.matches("\r\n").count(), 1, "{reply}");
        let long = format!("foo {} b", "x".repeat(500));
        assert!(play(&mut db, 0, &long).0.len() < 220);
    }
}
