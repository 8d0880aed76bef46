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
    /// The figure is told without a verdict.
    None,
}

/// The same work done by another program in the same minutes, in the same unit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Peer {
    /// As the table names it: `etcd`, `crun`.
    pub name: String,
    /// At least one, sorted.
    pub runs: Vec<f64>,
}

/// Several runs of one measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// What was measured, for people: `stop`, `puts, members: 3, clients: 64`.
    pub what: String,
    /// `ms`, `MB`, `%`: less is better. `…/s`: more is.
    pub unit: String,
    /// At least one, sorted.
    runs: Vec<f64>,
    peer: Option<Peer>,
    aim: Aim,
}

fn sorted(mut runs: Vec<f64>) -> Vec<f64> {
    runs.retain(|r| r.is_finite());
    if runs.is_empty() {
        runs.push(0.0);
    }
    runs.sort_by(f64::total_cmp);
    runs
}

/// The median of sorted runs: of an even number the mean of the two in the middle. At least one
/// run.
fn middle(runs: &[f64]) -> f64 {
    f64::midpoint(runs[(runs.len() - 1) / 2], runs[runs.len() / 2])
}

/// A time as figures tell it.
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

fn short(value: f64) -> String {
    let digits = digits(value);
    format!("{value:.digits$}")
}

/// Writes a value with at least this many digits after the point. If it misses its aim, it has as
/// many as tell it from the aim: `1.00×≥1, missed` would look wrong, `0.996×≥1, missed` does not.
fn told(value: f64, least: usize, missed: Option<f64>) -> String {
    let with = |number: f64, digits: usize| format!("{number:.digits$}");
    let is_aim = |digits: usize| missed.is_some_and(|aim| with(value, digits) == with(aim, digits));
    with(value, (least..DIGITS_MAX).find(|digits| !is_aim(*digits)).unwrap_or(DIGITS_MAX))
}

impl Figure {
    /// A figure of several runs, in any order, in `unit`. Runs that are no finite number are left
    /// out; without any the only run is 0.
    pub(crate) fn new(what: impl Into<String>, unit: &str, runs: Vec<f64>, aim: Aim) -> Figure {
        Figure { what: what.into(), unit: unit.into(), runs: sorted(runs), peer: None, aim }
    }

    /// A figure in milliseconds.
    pub(crate) fn times(what: impl Into<String>, runs: &[Duration], aim: Aim) -> Figure {
        Figure::new(what, "ms", runs.iter().copied().map(milliseconds).collect(), aim)
    }

    /// Nothing is said of a peer that never ran.
    pub(crate) fn beside(mut self, name: &str, runs: Vec<f64>) -> Figure {
        self.peer = (!runs.is_empty()).then(|| Peer { name: name.into(), runs: sorted(runs) });
        self
    }

    /// The median.
    pub(crate) fn p50(&self) -> f64 {
        middle(&self.runs)
    }

    /// How many times as fast as the peer.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let peer = middle(&self.peer.as_ref()?.runs);
        let (more, less) = if self.unit.ends_with("/s") { (self.p50(), peer) } else { (peer, self.p50()) };
        (less > 0.0).then(|| more / less)
    }

    /// Is it what it should be? `None` where nothing was aimed at, or the peer is missing.
    pub(crate) fn met(&self) -> Option<bool> {
        match self.aim {
            Aim::AtMost(most) => Some(self.p50() <= most),
            Aim::OfPeer(times) => self.ratio().map(|r| r >= times),
            Aim::None => None,
        }
    }

    /// What `ropewalk bench -o json` tells of it: `what`, `unit`, `p50`, `min`, `max`, the number
    /// of `runs`, `aim` and `met`; with a peer also `peer` and `ratio`.
    pub(crate) fn json(&self) -> Value {
        let spread = |runs: &[f64]| json!({"p50": middle(runs), "min": runs[0], "max": runs[runs.len() - 1], "runs": runs.len()});
        let mut document = spread(&self.runs);
        document["what"] = json!(self.what);
        document["unit"] = json!(self.unit);
        document["aim"] = json!(self.aim);
        document["met"] = json!(self.met());
        if let Some(peer) = &self.peer {
            document["peer"] = spread(&peer.runs);
            document["peer"]["name"] = json!(peer.name);
            document["ratio"] = json!(self.ratio());
        }
        document
    }
}

/// What one line of a table tells: what was measured, median, spread, aim.
type Line = [String; 4];

/// `missed`: an aim in this unit that the median misses.
fn line(what: String, runs: &[f64], unit: &str, missed: Option<f64>, aim: String) -> Line {
    let spread = match runs {
        [_] => String::new(),
        runs => format!("{}–{}", short(runs[0]), short(runs[runs.len() - 1])),
    };
    let median = middle(runs);
    [what, format!("{} {unit}", told(median, digits(median), missed)), spread, aim]
}

/// A part's figures at 80 columns: median, spread, what they stand beside. Columns are as wide as
/// what is in them: rates are longer than times.
pub(crate) fn table(name: &str, figures: &[Figure]) -> String {
    let mut lines: Vec<Line> = vec![[name, "median", "spread", "aim"].map(String::from)];
    for figure in figures {
        let verdict = match figure.met() {
            Some(true) => ", met",
            Some(false) => ", missed",
            None => "",
        };
        let missed = |aim: f64| (figure.met() == Some(false)).then_some(aim);
        let (own, aim) = match figure.aim {
            Aim::AtMost(most) => (missed(most), format!("≤ {}{verdict}", short(most))),
            Aim::OfPeer(_) | Aim::None => (None, String::new()),
        };
        lines.push(line(format!("  {}", figure.what), &figure.runs, &figure.unit, own, aim));
        if let Some(peer) = &figure.peer {
            let times = |missed| figure.ratio().map(|r| format!("{}×", told(r, RATIO_DIGITS, missed)));
            let aim = match figure.aim {
                Aim::OfPeer(aim) => format!("{}≥{aim}{verdict}", times(missed(aim)).unwrap_or_default()),
                _ => times(None).unwrap_or_default(),
            };
            lines.push(line(format!("    {}", peer.name), &peer.runs, &figure.unit, None, aim));
        }
    }
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let (first, second, third) = (width(0), width(1), width(2));
    let mut out = String::new();
    for [what, median, spread, aim] in &lines {
        let text = format!("{what:<first$}  {median:>second$}  {spread:>third$}  {aim}");
        let _ = writeln!(out, "{}", text.trim_end());
    }
    out + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_of_runs_lies_between_the_two_in_the_middle() {
        assert_eq!(middle(&[1.0, 3.0]), 2.0);
        assert_eq!(middle(&[1.0, 2.0, 9.0]), 2.0);
        assert_eq!(middle(&[1.0, 2.0, 4.0, 9.0]), 3.0);
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
        let time = Figure::new("t", "ms", vec![5.0, 1.0, 2.0], Aim::OfPeer(1.5)).beside("peer", vec![4.0]);
        assert_eq!((time.p50(), time.ratio(), time.met()), (2.0, Some(2.0), Some(true)));
        let rate = Figure::new("r", "puts/s", vec![2.0], Aim::OfPeer(1.5)).beside("peer", vec![4.0]);
        assert_eq!((rate.ratio(), rate.met()), (Some(0.5), Some(false)));
        let alone = Figure::new("a", "ms", vec![2.0], Aim::OfPeer(1.0)).beside("peer", vec![]);
        assert_eq!((alone.ratio(), alone.met()), (None, None));
        assert_eq!(Figure::new("m", "MB", vec![70.0], Aim::AtMost(60.0)).met(), Some(false));
    }

    #[test]
    fn a_table_fits_eighty_columns_and_says_what_was_missed() {
        let figures = [
            Figure::new("stop", "ms", vec![229.0, 220.0, 250.0], Aim::AtMost(1000.0)),
            Figure::new("puts, members: 3, clients: 64", "puts/s", vec![14369.0], Aim::OfPeer(1.5))
                .beside("etcd", vec![12000.0, 11000.0]),
        ];
        let table = table("start", &figures);
        assert!(table.lines().all(|l| l.chars().count() <= 80), "{table}");
        assert!(table.contains("229 ms      220–250  ≤ 1000, met"), "{table}");
        assert!(table.contains("1.25×≥1.5, missed"), "{table}");
    }

    #[test]
    fn a_figure_that_hardly_misses_its_aim_is_told_from_it() {
        let ratio = |own: f64| {
            let figure = Figure::new("gets", "gets/s", vec![own], Aim::OfPeer(1.0));
            table("store", &[figure.beside("etcd", vec![1000.0])])
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
                .beside("kube-apiserver", vec![9_999.0, 10_001.0]),
            Figure::new("creates, clients: 32, p99", "ms", vec![1.0], Aim::None),
        ];
        let wanted = "\
api                                   median       spread  aim
  creates, clients: 32       12185 creates/s  10000–14370
    kube-apiserver           10000 creates/s   9999–10001  1.22×≥2, missed
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
