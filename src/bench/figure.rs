//! One figure: what was measured, how it spread, what it stands beside.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt::Write;
use std::time::Duration;

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Aim {
    /// The median is at most this, in the figure's unit: less is better.
    AtMost(f64),
    /// As fast as the peer, this many times.
    OfPeer(f64),
    /// The figure has no verdict.
    None,
}

/// Another program that does the same work, or another route for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PeerName {
    /// `etcd`, `crun`, `loopback`.
    name: String,
    /// The program's version, e.g. `3.4.23`; a route has none.
    version: Option<String>,
    /// How the program does the work, if it is measured in several ways: `an empty network`.
    variant: Option<String>,
}

impl PeerName {
    /// A program: a figure beside it says nothing without its version.
    pub(crate) fn program(name: &str, version: &str) -> PeerName {
        PeerName { name: name.into(), version: Some(version.into()), variant: None }
    }

    /// A route, such as a direct connection.
    pub(crate) fn route(name: &str) -> PeerName {
        PeerName { name: name.into(), version: None, variant: None }
    }

    /// The same program, doing the work in this way.
    pub(crate) fn variant(&self, variant: &str) -> PeerName {
        PeerName { variant: Some(variant.into()), ..self.clone() }
    }

    /// Returns the name as tables have it: `crun 1.8.1, an empty network`.
    fn label(&self) -> String {
        let version = self.version.iter().map(|version| format!(" {version}"));
        let variant = self.variant.iter().map(|variant| format!(", {variant}"));
        std::iter::once(self.name.clone()).chain(version).chain(variant).collect()
    }
}

/// The same work done by a peer in the same minutes, in the same unit.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Peer {
    name: PeerName,
    /// Finite, sorted. Empty: it ran, and no run gave a number.
    runs: Vec<f64>,
}

/// Several runs of one measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// What was measured, for people: `stop`, `puts, members: 3, clients: 64`.
    pub what: String,
    /// `ms`, `MB`, `%`: less is better. `…/s`: more is.
    pub unit: String,
    /// Finite, sorted. Empty: no run gave a number, so there is no figure, and no aim is met.
    runs: Vec<f64>,
    peer: Option<Peer>,
    aim: Aim,
}

/// Sorts the runs that are a finite number. A round without a single answer has no percentile: it
/// is left out, since any number in its place would be a lie.
fn finite(mut runs: Vec<f64>) -> Vec<f64> {
    runs.retain(|run| run.is_finite());
    runs.sort_by(f64::total_cmp);
    runs
}

/// Returns the median of sorted runs: of an even number the mean of the two in the middle.
/// `None`: there is no run.
fn median(runs: &[f64]) -> Option<f64> {
    Some(f64::midpoint(*runs.get(runs.len().checked_sub(1)? / 2)?, *runs.get(runs.len() / 2)?))
}

/// Returns a time as figures have it.
pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Returns the least of sorted times that at least this part of them does not exceed (the nearest
/// rank), in milliseconds; no number if there is no time. Of 80 times the 99th percentile is the
/// longest: without it there would be 98.75 %.
pub(crate) fn percentile(sorted: &[Duration], part: f64) -> f64 {
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).map_or(f64::NAN, |time| milliseconds(*time))
}

/// Digits of a ratio after the point.
const RATIO_DIGITS: usize = 2;
/// A value that misses its aim has at most this many digits after the point.
const DIGITS_MAX: usize = 9;

/// Returns the number of digits after the point: two below 10, one below 100, none above.
fn digits(value: f64) -> usize {
    match value.abs() {
        v if v >= 99.95 => 0, // it is rounded to 100
        v if v >= 9.995 => 1,
        _ => 2,
    }
}

/// Writes a value with as many digits as [`digits`] says.
fn short(value: f64) -> String {
    let digits = digits(value);
    format!("{value:.digits$}")
}

/// Writes a value with at least this many digits after the point. If it misses its aim, it has as
/// many as distinguish it from the aim: `1.00×≥1, missed` would look wrong, `0.996×≥1, missed` does
/// not.
fn distinct(value: f64, least: usize, missed: Option<f64>) -> String {
    let with = |number: f64, digits: usize| format!("{number:.digits$}");
    let is_aim = |digits: usize| missed.is_some_and(|aim| with(value, digits) == with(aim, digits));
    with(value, (least..DIGITS_MAX).find(|digits| !is_aim(*digits)).unwrap_or(DIGITS_MAX))
}

impl Figure {
    /// A figure of several runs, in any order, in `unit`. Runs that are no finite number are left
    /// out.
    pub(crate) fn new(what: impl Into<String>, unit: &str, runs: Vec<f64>, aim: Aim) -> Figure {
        Figure { what: what.into(), unit: unit.into(), runs: finite(runs), peer: None, aim }
    }

    /// A figure in milliseconds.
    pub(crate) fn times(what: impl Into<String>, runs: &[Duration], aim: Aim) -> Figure {
        Figure::new(what, "ms", runs.iter().copied().map(milliseconds).collect(), aim)
    }

    /// Adds the runs of a peer.
    pub(crate) fn with_peer(mut self, name: PeerName, runs: Vec<f64>) -> Figure {
        self.peer = Some(Peer { name, runs: finite(runs) });
        self
    }

    /// Returns the median; `None`: there is no figure.
    pub(crate) fn p50(&self) -> Option<f64> {
        median(&self.runs)
    }

    /// Returns how many times as fast as the peer it is. `None`: one of the two has no figure, or
    /// the divisor is 0.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let (own, peer) = (self.p50()?, median(&self.peer.as_ref()?.runs)?);
        let (more, less) = if self.unit.ends_with("/s") { (own, peer) } else { (peer, own) };
        (less > 0.0).then(|| more / less)
    }

    /// Returns whether the aim is met. `None`: there is no aim, or nothing to compare with. Without
    /// a figure of its own an aim is missed: the work was not done once.
    pub(crate) fn met(&self) -> Option<bool> {
        match self.aim {
            Aim::AtMost(most) => Some(self.p50().is_some_and(|own| own <= most)),
            Aim::OfPeer(_) if self.p50().is_none() => self.peer.as_ref().map(|_| false),
            Aim::OfPeer(times) => self.ratio().map(|ratio| ratio >= times),
            Aim::None => None,
        }
    }

    /// Returns the figure's object in `ropewalk bench -o json`: `what`, `unit`, `p50`, `min`,
    /// `max`, the number of `runs`, `aim` and `met`; with a peer also `peer` and `ratio`. Without
    /// runs the three numbers are null.
    pub(crate) fn json(&self) -> Value {
        let spread = |runs: &[f64]| json!({"p50": median(runs), "min": runs.first(), "max": runs.last(), "runs": runs.len()});
        let mut document = spread(&self.runs);
        document["what"] = json!(self.what);
        document["unit"] = json!(self.unit);
        document["aim"] = json!(self.aim);
        document["met"] = json!(self.met());
        if let Some(peer) = &self.peer {
            document["peer"] = spread(&peer.runs);
            document["peer"]["name"] = json!(peer.name.name);
            document["peer"]["version"] = json!(peer.name.version);
            document["peer"]["variant"] = json!(peer.name.variant);
            document["ratio"] = json!(self.ratio());
        }
        document
    }
}

/// The columns of a table: what was measured, median, spread, aim.
type Row = [String; 4];

/// Returns a row. `missed`: an aim in this unit that the median misses.
fn row(what: String, runs: &[f64], unit: &str, missed: Option<f64>, aim: String) -> Row {
    let spread = match runs {
        [] | [_] => String::new(),
        [least, .., most] => format!("{}–{}", short(*least), short(*most)),
    };
    let median = match median(runs) {
        Some(median) => format!("{} {unit}", distinct(median, digits(median), missed)),
        None => "no figure".to_string(),
    };
    [what, median, spread, aim]
}

/// Returns a figure's row, and that of its peer.
fn rows(figure: &Figure) -> Vec<Row> {
    let verdict = match figure.met() {
        Some(true) => ", met",
        Some(false) => ", missed",
        None => "",
    };
    let missed = |aim: f64| (figure.met() == Some(false)).then_some(aim);
    let (own_missed, own_aim) = match figure.aim {
        Aim::AtMost(most) => (missed(most), format!("≤ {}{verdict}", short(most))),
        Aim::OfPeer(_) | Aim::None => (None, String::new()),
    };
    let mut rows = vec![row(format!("  {}", figure.what), &figure.runs, &figure.unit, own_missed, own_aim)];
    if let Some(peer) = &figure.peer {
        let times = |missed| match figure.ratio() {
            Some(ratio) => format!("{}×", distinct(ratio, RATIO_DIGITS, missed)),
            None => String::new(),
        };
        let aim = match figure.aim {
            Aim::OfPeer(aim) => format!("{}≥{aim}{verdict}", times(missed(aim))),
            Aim::AtMost(_) | Aim::None => times(None),
        };
        rows.push(row(format!("    {}", peer.name.label()), &peer.runs, &figure.unit, None, aim));
    }
    rows
}

/// Returns a part's figures at 80 columns, unless a peer has a long version: median, spread, aim,
/// peer. Columns are as wide as what is in them: rates are longer than times.
pub(crate) fn table(name: &str, figures: &[Figure]) -> String {
    let headings = [name, "median", "spread", "aim"].map(String::from);
    let rows: Vec<Row> = std::iter::once(headings).chain(figures.iter().flat_map(rows)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (first, second, third) = (width(0), width(1), width(2));
    let mut out = String::new();
    for [what, median, spread, aim] in &rows {
        let line = format!("{what:<first$}  {median:>second$}  {spread:>third$}  {aim}");
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_of_runs_lies_between_the_two_in_the_middle() {
        assert_eq!(median(&[1.0, 3.0]), Some(2.0));
        assert_eq!(median(&[1.0, 2.0, 9.0]), Some(2.0));
        assert_eq!(median(&[1.0, 2.0, 4.0, 9.0]), Some(3.0));
        assert_eq!((median(&[7.0]), median(&[])), (Some(7.0), None));
    }

    #[test]
    fn a_percentile_is_not_exceeded_by_its_part_of_the_times() {
        for (count, p50, p99) in [(1, 1.0, 1.0), (2, 1.0, 2.0), (80, 40.0, 80.0), (150, 75.0, 149.0)] {
            let times: Vec<Duration> = (1..=count).map(Duration::from_millis).collect();
            assert_eq!((percentile(&times, 0.5), percentile(&times, 0.99)), (p50, p99), "{count}");
        }
        assert!(percentile(&[], 0.99).is_nan());
    }

    #[test]
    fn a_ratio_above_one_is_faster_whatever_the_unit() {
        let peer = PeerName::route("peer");
        let time = Figure::new("t", "ms", vec![5.0, 1.0, 2.0], Aim::OfPeer(1.5));
        let time = time.with_peer(peer.clone(), vec![4.0]);
        assert_eq!((time.p50(), time.ratio(), time.met()), (Some(2.0), Some(2.0), Some(true)));
        let rate = Figure::new("r", "puts/s", vec![2.0], Aim::OfPeer(1.5)).with_peer(peer, vec![4.0]);
        assert_eq!((rate.ratio(), rate.met()), (Some(0.5), Some(false)));
        let alone = Figure::new("a", "ms", vec![2.0], Aim::OfPeer(1.0));
        assert_eq!((alone.ratio(), alone.met()), (None, None));
        assert_eq!(Figure::new("m", "MB", vec![70.0], Aim::AtMost(60.0)).met(), Some(false));
    }

    /// 0 would be the best of all times.
    #[test]
    fn without_a_finite_run_there_is_no_figure_and_no_aim_is_met() {
        let peer = || PeerName::program("peer", "1.2");
        let none = Figure::new("p99", "ms", vec![f64::NAN, f64::INFINITY], Aim::AtMost(50.0));
        assert_eq!((none.p50(), none.met()), (None, Some(false)));
        assert_eq!(table("api", &[none]).lines().nth(1), Some("  p99  no figure          ≤ 50.0, missed"));
        let none = Figure::new("p99", "ms", vec![f64::NAN], Aim::OfPeer(4.0)).with_peer(peer(), vec![3.0]);
        let document = none.json();
        assert_eq!((none.ratio(), none.met()), (None, Some(false)));
        assert_eq!(
            (&document["p50"], &document["max"], &document["runs"]),
            (&Value::Null, &Value::Null, &json!(0))
        );
        assert!(table("api", &[none]).contains("    peer 1.2    3.00 ms          ≥4, missed"));
        let of_peer = Figure::new("p99", "ms", vec![3.0], Aim::OfPeer(4.0)).with_peer(peer(), vec![f64::NAN]);
        assert_eq!((of_peer.ratio(), of_peer.met()), (None, None), "there is nothing to compare with");
        let kept = Figure::new("p99", "ms", vec![f64::NAN, 3.0], Aim::AtMost(4.0));
        assert_eq!((kept.p50(), kept.met()), (Some(3.0), Some(true)));
    }

    #[test]
    fn a_peer_is_named_with_its_version() {
        let crun = PeerName::program("crun", "1.8.1").variant("an empty network");
        let figure = Figure::new("x", "ms", vec![1.0], Aim::None).with_peer(crun, vec![2.0]);
        assert!(
            table("runtime", std::slice::from_ref(&figure))
                .contains("    crun 1.8.1, an empty network  2.00 ms")
        );
        let peer = &figure.json()["peer"];
        assert_eq!((&peer["name"], &peer["version"]), (&json!("crun"), &json!("1.8.1")));
        assert_eq!(PeerName::route("loopback").label(), "loopback");
    }

    #[test]
    fn a_table_fits_eighty_columns_and_says_what_was_missed() {
        let figures = [
            Figure::new("stop", "ms", vec![229.0, 220.0, 250.0], Aim::AtMost(1000.0)),
            Figure::new("puts, members: 3, clients: 64", "puts/s", vec![14369.0], Aim::OfPeer(1.5))
                .with_peer(PeerName::program("etcd", "3.4.23"), vec![12000.0, 11000.0]),
        ];
        let table = table("start", &figures);
        assert!(table.lines().all(|l| l.chars().count() <= 80), "{table}");
        assert!(table.contains("229 ms      220–250  ≤ 1000, met"), "{table}");
        assert!(table.contains("1.25×≥1.5, missed"), "{table}");
    }

    #[test]
    fn a_figure_that_hardly_misses_its_aim_has_digits_that_show_it() {
        let ratio = |own: f64| {
            let figure = Figure::new("gets", "gets/s", vec![own], Aim::OfPeer(1.0));
            table("store", &[figure.with_peer(PeerName::route("etcd"), vec![1000.0])])
        };
        assert!(ratio(996.0).contains("0.996×≥1, missed"), "{}", ratio(996.0));
        assert!(ratio(994.0).contains("0.99×≥1, missed") && ratio(1001.0).contains("1.00×≥1, met"));
        let time = |own: f64| table("start", &[Figure::new("stop", "ms", vec![own], Aim::AtMost(1000.0))]);
        assert!(time(1000.3).contains("1000.3 ms") && time(1000.3).contains("≤ 1000, missed"));
        assert!(time(999.8).contains("1000 ms") && time(999.8).contains("≤ 1000, met"));
        assert_eq!([9.994, 9.996, 99.94, 99.96].map(short), ["9.99", "10.0", "99.9", "100"]);
    }

    #[test]
    fn columns_are_as_wide_as_the_longest_rate() {
        let figures = [
            Figure::new("creates, clients: 32", "creates/s", vec![10_000.0, 14_370.0], Aim::OfPeer(2.0))
                .with_peer(PeerName::program("kube-apiserver", "1.35.0"), vec![9_999.0, 10_001.0]),
            Figure::new("creates, clients: 32, p99", "ms", vec![1.0], Aim::None),
        ];
        let wanted = "\
api                                   median       spread  aim
  creates, clients: 32       12185 creates/s  10000–14370
    kube-apiserver 1.35.0    10000 creates/s   9999–10001  1.22×≥2, missed
  creates, clients: 32, p99          1.00 ms

";
        assert_eq!(table("api", &figures), wanted);
    }

    #[test]
    fn a_document_has_what_a_table_has() {
        let document =
            super::super::document("runtime", &[Figure::times("x", &[Duration::from_millis(3)], Aim::None)]);
        assert_eq!((&document["p50_ms"], &document["figures"][0]["runs"]), (&json!(3.0), &json!(1)));
    }
}
