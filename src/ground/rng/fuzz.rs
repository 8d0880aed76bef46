//! Fuzzing from a seed: code that reads input of others is given bent (mutated) input for a while.
//! It may refuse it with an error; it must not panic, and must answer within [`STALL`].
//!
//! A room keeps a table of [`Target`]s and calls [`all`]. Each seed is a history of its own: it
//! begins with the examples, and bends inputs that were bent before and accepted.
//! `ROPEWALK_FUZZ_SECONDS=300` makes a long run of every target, with `ROPEWALK_FUZZ_TARGET=YAML`
//! of one, in the test that has this target; a failure prints the command that repeats it, and the
//! input.

use super::Rng;
use super::seeds::{amount, number, seeds_from};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How long a target is tried unless `ROPEWALK_FUZZ_SECONDS` says otherwise.
const BUDGET: Duration = Duration::from_millis(300);
/// Inputs of one seed.
const HISTORY: usize = 300;
/// Bent inputs that were accepted and are bent further.
const KEPT_MAX: usize = 40;
/// Bytes of an input; what is longer is cut.
const INPUT_MAX: usize = 64 << 10;
/// One input must not take longer, even in a slow build on a busy machine.
const STALL: Duration = Duration::from_secs(5);
/// Bytes of an input that a report shows.
const SHOWN_MAX: usize = 4000;

/// Code that reads input.
pub struct Target {
    /// The name in reports of a failure, e.g. `strategic merge patch`.
    pub name: &'static str,
    /// Inputs to begin with. The run fails if the target does not accept one of them.
    pub examples: Vec<Vec<u8>>,
    /// Words that mean something to the target; some are put into its inputs.
    pub words: &'static [&'static str],
    /// Reads an input; false if it was refused.
    pub reads: fn(&[u8]) -> bool,
}

impl Target {
    /// Makes a target whose examples are text.
    pub fn text(
        name: &'static str,
        examples: &[&str],
        words: &'static [&'static str],
        reads: fn(&[u8]) -> bool,
    ) -> Target {
        Target { name, examples: examples.iter().map(|e| e.as_bytes().to_vec()).collect(), words, reads }
    }
}

/// The first seed: `ROPEWALK_SEED_FROM`, or 0.
pub fn first_seed() -> u64 {
    number("ROPEWALK_SEED_FROM").unwrap_or(0)
}

/// `ROPEWALK_FUZZ_SECONDS`, or `default`.
pub fn budget(default: Duration) -> Duration {
    amount("ROPEWALK_FUZZ_SECONDS").map_or(default, Duration::from_secs)
}

/// Tries every target of the table with bent input, or the one that `ROPEWALK_FUZZ_TARGET` names.
///
/// # Panics
/// After the last target, with a report of each that panicked or gave no answer. At once if a
/// target does not accept one of its examples, or if the table has no target of the name that was
/// asked for.
pub fn all(test: &str, targets: Vec<Target>) {
    let only = std::env::var_os("ROPEWALK_FUZZ_TARGET").map(|name| name.to_string_lossy().into_owned());
    let found: Vec<String> = chosen(test, targets, only.as_deref())
        .into_iter()
        .filter_map(|target| run(test, &Arc::new(target)))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The targets of this name, or all of them. A name that is misspelt would try nothing, and pass.
fn chosen(test: &str, targets: Vec<Target>, only: Option<&str>) -> Vec<Target> {
    let names = targets.iter().map(|target| target.name).collect::<Vec<_>>().join(", ");
    let is_chosen = |target: &Target| only.is_none_or(|name| name == target.name);
    let chosen: Vec<Target> = targets.into_iter().filter(is_chosen).collect();
    let name = only.unwrap_or_default();
    assert!(!chosen.is_empty(), "ROPEWALK_FUZZ_TARGET={name}: {test} has {names}");
    chosen
}

/// Tries one target with seed after seed until the budget is spent, or with as many as
/// `ROPEWALK_SEEDS` says. Returns the report of the first failure.
fn run(test: &str, target: &Arc<Target>) -> Option<String> {
    for example in &target.examples {
        assert!((target.reads)(example), "{} does not understand {}", target.name, shown(example));
    }
    let (start, life, mut seed) = (Instant::now(), budget(BUDGET), first_seed());
    let end = amount("ROPEWALK_SEEDS").map(|n| seeds_from(seed, n).end);
    let (mut tried, mut accepted) = (0, 0);
    while end.map_or(start.elapsed() < life, |end| seed < end) {
        // A thread of its own has the stack of a worker of tokio, a name that Rust prints if that
        // stack overflows, and need not be waited for if it gives no answer.
        let name = format!("{} with ROPEWALK_SEEDS=1 ROPEWALK_SEED_FROM={seed}", target.name);
        let thread = std::thread::Builder::new().name(name).stack_size(2 << 20);
        let (now, (done, answer)) = (Arc::new(Now::default()), mpsc::channel());
        let (its, shared) = (now.clone(), target.clone());
        let started = thread.spawn(move || done.send(history(&shared, seed, &its)));
        started.expect("a thread");
        let ran = loop {
            match answer.recv_timeout(Duration::from_millis(100)) {
                Ok(ran) => break ran,
                Err(RecvTimeoutError::Timeout) => {
                    if let Some(input) = now.stalled() {
                        break Err((input, format!("no answer within {STALL:?}")));
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break Err((vec![], "the thread is gone".into())),
            }
        };
        match ran {
            Ok((inputs, understood)) => (tried, accepted) = (tried + inputs, accepted + understood),
            Err((input, why)) => {
                return Some(format!(
                    "{}: {why}\nagain with: ROPEWALK_SEEDS=1 ROPEWALK_SEED_FROM={seed} {}\ninput: {}",
                    target.name,
                    super::seeds::command(test),
                    shown(&input)
                ));
            }
        }
        seed += 1;
    }
    println!("{}: {tried} inputs, {accepted} accepted, seeds {}..{seed}", target.name, first_seed());
    None
}

/// The input that is being read, and since when.
#[derive(Default)]
struct Now(Mutex<Option<(Instant, Vec<u8>)>>);

impl Now {
    fn begin(&self, input: &[u8]) {
        *self.0.lock() = Some((Instant::now(), input.to_vec()));
    }
    fn stalled(&self) -> Option<Vec<u8>> {
        self.0.lock().as_ref().filter(|(since, _)| since.elapsed() > STALL).map(|(_, i)| i.clone())
    }
}

/// Runs the history of one seed. Returns how many inputs were tried and how many accepted.
///
/// # Errors
/// The input with which the target panicked, and the panic's text.
fn history(target: &Target, seed: u64, now: &Now) -> Result<(usize, usize), (Vec<u8>, String)> {
    let bender = Bender(Rng::seeded(seed).fork(target.name));
    let (mut kept, mut accepted) = (target.examples.clone(), 0);
    for _ in 0..HISTORY {
        let mut input = bender.pick(&kept).clone();
        (0..=bender.below(4)).for_each(|_| bender.bytes(&mut input, &kept, target.words));
        input.truncate(INPUT_MAX);
        now.begin(&input);
        match catch_unwind(AssertUnwindSafe(|| (target.reads)(&input))) {
            Err(panic) => return Err((input, format!("panic: {}", said(&*panic)))),
            Ok(true) => {
                accepted += 1;
                match kept.len() - target.examples.len() {
                    KEPT_MAX.. => {
                        let at = target.examples.len() + bender.below(KEPT_MAX);
                        kept[at] = input;
                    }
                    _ => kept.push(input),
                }
            }
            Ok(false) => {}
        }
    }
    Ok((HISTORY, accepted))
}

/// Returns the text of a panic; empty if it has none.
pub fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
}

/// Shows an input in a form that can be pasted into a test: as a string if it is text, else
/// hexadecimal. Of a long one only the beginning is shown, with its size.
pub fn shown(input: &[u8]) -> String {
    let cut = &input[..input.len().min(SHOWN_MAX)];
    let part = match std::str::from_utf8(cut) {
        // The cut goes through a character.
        Err(error) if error.error_len().is_none() && cut.len() < input.len() => &cut[..error.valid_up_to()],
        _ => cut,
    };
    let more = if part.len() < input.len() { format!(" … ({} bytes)", input.len()) } else { String::new() };
    match std::str::from_utf8(part) {
        Ok(text) => format!("{text:?}{more}"),
        Err(_) => format!("{}{more}", part.iter().map(|b| format!("{b:02x}")).collect::<String>()),
    }
}

/// Bends bytes and values.
pub struct Bender(pub Rng);

impl Bender {
    /// Draws a number in `0..n`; 0 if `n` is 0.
    pub fn below(&self, n: usize) -> usize {
        self.0.range(0, n as u64) as usize
    }

    /// Draws one of `all`, which must not be empty.
    pub fn pick<'a, T>(&self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// Bends one place of some bytes, of which `others` gives parts and `words` whole words. JSON
    /// is bent as JSON half of the time: then it stays JSON.
    pub fn bytes(&self, bytes: &mut Vec<u8>, others: &[Vec<u8>], words: &[&str]) {
        if matches!(bytes.first(), Some(b'{' | b'['))
            && self.0.chance(0.5)
            && let Ok(mut value) = serde_json::from_slice::<Value>(bytes)
        {
            self.value(&mut value, 0);
            *bytes = value.to_string().into_bytes();
            return;
        }
        let at = self.below(bytes.len() + 1);
        let end = (at + 1 + self.below(if self.0.chance(0.8) { 8 } else { 400 })).min(bytes.len());
        let insert = |bytes: &mut Vec<u8>, new: &[u8]| drop(bytes.splice(at..at, new.iter().copied()));
        match self.below(12) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            1 if at < bytes.len() => bytes[at] = self.below(256) as u8,
            2 if at < bytes.len() => {
                bytes[at] = *self.pick(&[0, 1, 0x7f, 0x80, 0xff, b'\n', b'"', b'-', b' '])
            }
            3 => drop(bytes.drain(at..end.max(at))),
            4 => bytes.truncate(at),
            5 => {
                let part = bytes[at..end.max(at)].to_vec();
                let times = if self.0.chance(0.9) { 1 } else { 1 + self.below(3000) };
                insert(bytes, &part.repeat(times.min(INPUT_MAX / part.len().max(1))));
            }
            6 => {
                let other = self.pick(others);
                let from = self.below(other.len() + 1);
                let to = (from + 1 + self.below(60)).min(other.len());
                insert(bytes, &other[from..to.max(from)]);
            }
            7 if !words.is_empty() => insert(bytes, self.pick(words).as_bytes()),
            8 if !words.is_empty() => {
                let word = self.pick(words).as_bytes().to_vec();
                bytes.splice(at..end.max(at), word);
            }
            9 => insert(bytes, self.number().to_string().as_bytes()),
            10 => {
                let noise: Vec<u8> = (0..self.below(20)).map(|_| self.below(256) as u8).collect();
                insert(bytes, &noise);
            }
            _ => insert(bytes, self.word().as_bytes()),
        }
    }

    /// Bends one place of a value that is nested `depth` deep.
    pub fn value(&self, value: &mut Value, depth: usize) {
        let here = self.0.chance(0.2);
        match value {
            Value::Object(map) if !map.is_empty() && !here => {
                let at = self.below(map.len());
                if let Some((_, inner)) = map.iter_mut().nth(at) {
                    self.value(inner, depth + 1);
                }
            }
            Value::Array(list) if !list.is_empty() && !here => {
                let at = self.below(list.len());
                match self.below(4) {
                    0 => list.push(list[at].clone()),
                    1 => drop(list.remove(at)),
                    _ => self.value(&mut list[at], depth + 1),
                }
            }
            Value::Object(map) if self.0.chance(0.3) => drop(map.insert(self.word(), self.nonsense(depth))),
            Value::Object(map) if self.0.chance(0.2) => self.without_one(map),
            other if depth > 0 => *other = self.nonsense(depth),
            _ => {}
        }
    }

    fn without_one(&self, map: &mut Map<String, Value>) {
        let key = map.keys().nth(self.below(map.len())).cloned();
        key.and_then(|key| map.shift_remove(&key));
    }

    /// Draws a number at which readers go wrong: around zero, a port, or at the ends of 32 and 64
    /// bits.
    pub fn number(&self) -> Value {
        let odd = [0, 1, -1, 2, 80, 443, 30000, 65536, i64::MAX, i64::MIN, 1 << 31, 1 << 32];
        json!(self.pick(&odd))
    }

    /// Makes a value of any type for a place at this depth. From a depth of 30 on it holds no other
    /// values.
    pub fn nonsense(&self, depth: usize) -> Value {
        match self.below(9) {
            0 => Value::Null,
            1 => json!([]),
            2 => json!({}),
            3 => self.number(),
            4 => json!(1.5e308),
            5 => self.word().into(),
            6 if depth < 30 => json!([self.nonsense(depth + 1)]),
            7 if depth < 30 => json!({ self.word(): self.nonsense(depth + 1) }),
            _ => json!(true),
        }
    }

    /// Draws a word that may stand in manifests, or one that must not.
    pub fn word(&self) -> String {
        match self.below(20) {
            0 => "x".repeat(self.below(300)),
            1 => "🦀".repeat(self.below(70)),
            _ => self.pick(WORDS).to_string(),
        }
    }
}

const WORDS: &[&str] = &[
    "",
    "a",
    "web",
    "default",
    "TCP",
    "Always",
    "nginx",
    "metadata.name",
    "app=web",
    "10.0.0.1",
    "::1",
    "1Gi",
    "250m",
    "-1",
    "1e400",
    "2026-01-02T03:04:05Z",
    "0001-01-01T00:00:00Z",
    "/",
    "..",
    "%00",
    "a/b/c",
    "ü",
    "\u{0}",
    "\u{7f}",
    "'\"\\",
    "{{",
    "$(X)",
    "all",
    "*",
    "null",
    "true",
    "a.b.c/d",
    "kubernetes.io/x",
    "-",
    "a-",
    "A",
    "999999999999999999999",
    "Service",
    "v1",
    "apps/v1",
    "self.a == 1",
    "((((((",
    "^(",
    "[a-",
    ".spec.a",
    "{.a[",
    "1s",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_panics_is_found_and_told_with_its_seed() {
        fn reads(input: &[u8]) -> bool {
            assert!(!input.contains(&0xff), "a byte too many");
            input.starts_with(b"a")
        }
        let target = Target::text("example", &["abc"], &["a"], reads);
        let told = (0..100)
            .find_map(|seed| history(&target, seed, &Now::default()).err())
            .expect("one of these has that byte");
        assert!(told.0.contains(&0xff) && told.1 == "panic: a byte too many", "{}", told.1);
        let again = (0..100).find_map(|seed| history(&target, seed, &Now::default()).err()).unwrap();
        assert_eq!(told, again, "a seed is a history");
    }

    #[test]
    fn a_failure_is_reported_with_the_command_that_repeats_it() {
        fn reads(input: &[u8]) -> bool {
            assert!(input == b"abc", "planted");
            true
        }
        let target = Arc::new(Target::text("example", &["abc"], &[], reads));
        let report = run("room::fuzz", &target).expect("it panics");
        let seed = first_seed();
        let again = format!("ROPEWALK_SEEDS=1 ROPEWALK_SEED_FROM={seed} cargo test -p room --lib fuzz");
        let start = format!("example: panic: planted\nagain with: {again}\ninput: ");
        assert!(report.starts_with(&start), "{report}");
    }

    #[test]
    fn an_input_that_is_read_for_too_long_is_named() {
        let now = Now::default();
        assert_eq!(now.stalled(), None, "before the first one");
        *now.0.lock() = Some((Instant::now().checked_sub(2 * STALL).unwrap(), b"slow".to_vec()));
        assert_eq!(now.stalled().as_deref(), Some(&b"slow"[..]));
        now.begin(b"next");
        assert_eq!(now.stalled(), None, "it has just begun");
    }

    #[test]
    fn a_target_that_is_misspelt_is_no_success() {
        let table = || -> Vec<Target> {
            ["YAML", "JSON"].into_iter().map(|name| Target::text(name, &[], &[], |_| true)).collect()
        };
        let names = |only: Option<&'static str>| {
            let chosen = catch_unwind(|| chosen("api::fuzz", table(), only));
            chosen
                .map(|all: Vec<Target>| all.iter().map(|target| target.name).collect::<Vec<_>>().join(" "))
                .map_err(|panic| said(&*panic))
        };
        assert_eq!(names(None), Ok("YAML JSON".into()));
        assert_eq!(names(Some("JSON")), Ok("JSON".into()));
        assert_eq!(names(Some("YML")), Err("ROPEWALK_FUZZ_TARGET=YML: api::fuzz has YAML, JSON".into()));
    }

    #[test]
    fn an_input_is_shown_as_text_also_if_the_cut_goes_through_a_character() {
        assert_eq!(shown("한".as_bytes()), "\"한\"");
        assert_eq!(shown(&[b'a', 0xff]), "61ff");
        assert_eq!(shown("한".as_bytes().split_at(2).0), "ed95", "this input is no text");
        let long = format!("a{}", "é".repeat(SHOWN_MAX));
        let text = format!("a{}", "é".repeat((SHOWN_MAX - 1) / 2));
        assert_eq!(shown(long.as_bytes()), format!("{text:?} … ({} bytes)", long.len()));
    }
}
