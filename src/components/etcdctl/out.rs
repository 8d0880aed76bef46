//! Answers as text: the formats of `-w`.

use super::fail::{FEATURE, FILE, Fail, READER_LEFT};
pub(crate) use api::gostr::quote_bytes as quoted;
use etcd::pb;
use serde::Serialize;
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// How answers are printed: the values of `--write-out` that this etcdctl has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Simple,
    Json,
    Fields,
    Table,
}

impl Format {
    /// The format of this name.
    ///
    /// # Errors
    /// There is no such format, or it is `protobuf`, which this etcdctl does not print
    /// ([`FEATURE`]).
    pub(crate) fn named(name: &str) -> Result<Format, Fail> {
        match name {
            "simple" => Ok(Format::Simple),
            "json" => Ok(Format::Json),
            "fields" => Ok(Format::Fields),
            "table" => Ok(Format::Table),
            "protobuf" => {
                Err(Fail::new(FEATURE, "protobuf is not implemented here; json has the same content"))
            }
            _ => Err(Fail::new(FEATURE, "unsupported output format")),
        }
    }
}

/// Standard output, and how answers are printed on it.
pub(crate) struct Out<'io> {
    pub format: Format,
    /// Keys and values in hexadecimal (`\x61`); in the format `fields` the ids instead.
    pub hex: bool,
    pub to: &'io mut (dyn AsyncWrite + Send + Unpin),
}

/// Text that grows, with what is the same in many answers.
#[derive(Default)]
pub(crate) struct Page {
    pub bytes: Vec<u8>,
    hex: bool,
}

/// `336 kB`: three digits at most, steps of a thousand.
pub(crate) fn human(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let value = (value * 10.0 + 0.5).floor() / 10.0;
    let digits = usize::from(value < 10.0);
    format!("{value:.digits$} {}", UNITS[unit])
}

/// Returns a lease's number as all verbs print it (`%016x` of Go): a negative one has its sign in
/// place of a digit.
pub(crate) fn lease(id: i64) -> String {
    match id < 0 {
        true => format!("-{:015x}", id.unsigned_abs()),
        false => format!("{id:016x}"),
    }
}

impl Page {
    /// Appends text and the end of the line.
    pub(crate) fn line(&mut self, text: impl AsRef<str>) {
        self.bytes.extend(text.as_ref().as_bytes());
        self.bytes.push(b'\n');
    }

    /// A byte string as it is, or in hexadecimal.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        match self.hex {
            true => bytes.iter().for_each(|b| self.bytes.extend(format!("\\x{b:02x}").as_bytes())),
            false => self.bytes.extend(bytes),
        }
        self.bytes.push(b'\n');
    }

    /// Appends a line of the format `fields`: `"name" : value`.
    pub(crate) fn field(&mut self, name: &str, value: impl std::fmt::Display) {
        self.line(format!("\"{name}\" : {value}"));
    }

    /// Appends a text as a field, in quotes.
    pub(crate) fn text(&mut self, name: &str, text: &str) {
        self.field(name, quoted(text.as_bytes()));
    }

    /// Appends the id of a cluster or of a member as a field; with `--hex` in hexadecimal, as
    /// `move-leader` takes it.
    pub(crate) fn id(&mut self, name: &str, id: u64) {
        match self.hex {
            true => self.field(name, format_args!("{id:x}")),
            false => self.field(name, id),
        }
    }

    /// Appends a lease as a field; with `--hex` in hexadecimal, as the verbs of leases take it.
    pub(crate) fn lease_id(&mut self, name: &str, id: i64) {
        match self.hex {
            true => self.field(name, lease(id)),
            false => self.field(name, id),
        }
    }

    /// Appends cluster, member, revision and term of an answer as fields. A revision of 0 is left
    /// out: a list of members, for example, has none.
    pub(crate) fn header(&mut self, header: &Option<pb::ResponseHeader>) {
        let header = header.clone().unwrap_or_default();
        self.id("ClusterID", header.cluster_id);
        self.id("MemberID", header.member_id);
        if header.revision > 0 {
            self.field("Revision", header.revision);
        }
        self.field("RaftTerm", header.raft_term);
    }

    /// A key with all that is known of it; `prefix` stands before each name.
    pub(crate) fn kv_fields(&mut self, prefix: &str, kv: &pb::KeyValue) {
        self.field(&format!("{prefix}Key"), quoted(&kv.key));
        self.field(&format!("{prefix}CreateRevision"), kv.create_revision);
        self.field(&format!("{prefix}ModRevision"), kv.mod_revision);
        self.field(&format!("{prefix}Version"), kv.version);
        self.field(&format!("{prefix}Value"), quoted(&kv.value));
        self.lease_id(&format!("{prefix}Lease"), kv.lease);
    }

    /// Appends a key and its value, a line each, as the format `simple` has them.
    pub(crate) fn kv(&mut self, kv: &pb::KeyValue) {
        self.raw(&kv.key);
        self.raw(&kv.value);
    }
}

/// The characters of a cell that stay on one line, as in etcdctl's tables (`MAX_ROW_WIDTH` of
/// tablewriter).
const CELL_WIDTH: usize = 30;

fn count(text: &str) -> usize {
    text.chars().count()
}

/// A cell of a table.
struct Cell {
    lines: Vec<String>,
    width: usize,
}

impl Cell {
    /// Breaks a text that is too wide at its spaces. A line has at most [`CELL_WIDTH`] characters,
    /// or as many as the longest word. Of all ways to break it, the lines before the last one are
    /// the fullest: the squares of the space that they leave have the smallest sum.
    ///
    /// ```text
    /// memberID:10276657743932975437 alarm:NOSPACE     "memberID:10276657743932975437"
    ///                                                 "alarm:NOSPACE "
    /// ```
    fn of(text: &str) -> Cell {
        let words: Vec<&str> = text.split(['\n', ' ']).collect();
        let width = text.split('\n').map(count).max().unwrap_or(0).min(CELL_WIDTH);
        let limit = words.iter().map(|word| count(word)).max().unwrap_or(0).max(width);
        // For the text from each word on: what its lines leave, and the first word of its second
        // line.
        let mut best: Vec<(usize, usize)> = vec![(0, words.len()); words.len() + 1];
        for first in (0..words.len()).rev() {
            let (mut found, mut length): (Option<(usize, usize)>, usize) = (None, 0);
            for (next, (after, _)) in best.iter().enumerate().skip(first + 1) {
                length += count(words[next - 1]) + usize::from(next > first + 1);
                if length > limit {
                    break;
                }
                let is_last = next == words.len();
                let left = if is_last { 0 } else { (limit - length).pow(2) + after };
                if is_last || found.is_none_or(|(least, _)| left < least) {
                    found = Some((left, next));
                }
            }
            best[first] = found.unwrap_or((0, words.len())); // a single word always fits
        }
        let (mut lines, mut first) = (Vec::new(), 0);
        while first < words.len() {
            let next = best[first].1;
            lines.push(words[first..next].join(" "));
            first = next;
        }
        let width = lines.iter().map(|line| count(line)).fold(width, usize::max);
        Cell { lines, width }
    }
}

/// A table with borders; headings in the middle, cells to the right. A row is as high as its
/// highest cell.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<Cell>> =
        rows.iter().map(|row| row.iter().map(|text| Cell::of(text)).collect()).collect();
    let width = |n: usize| {
        let cells = rows.iter().map(|r| r.get(n).map_or(0, |c| c.width));
        cells.chain([headings[n].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let rule = format!("+{}+\n", widths.iter().map(|w| "-".repeat(w + 2)).collect::<Vec<_>>().join("+"));
    let row = |cells: Vec<String>| format!("|{}|\n", cells.join("|"));
    let mut text = rule.clone();
    text += &row(headings
        .iter()
        .zip(&widths)
        .map(|(h, w)| {
            let left = (w - h.chars().count()) / 2;
            format!(" {:w$} ", format!("{}{h}", " ".repeat(left)))
        })
        .collect());
    text += &rule;
    for cells in &rows {
        let height = cells.iter().map(|cell| cell.lines.len()).max().unwrap_or(0);
        for n in 0..height {
            let part = |cell: &Cell| cell.lines.get(n).cloned().unwrap_or_default();
            text += &row(cells.iter().zip(&widths).map(|(c, w)| format!(" {:>w$} ", part(c))).collect());
        }
    }
    text + &rule
}

/// Writes bytes to standard output at once.
///
/// # Errors
/// Standard output cannot be written, as on a full disk ([`FILE`]). Its reader has ended
/// ([`READER_LEFT`], without a text): etcdctl would end by SIGPIPE.
pub(crate) async fn write(to: &mut (dyn AsyncWrite + Send + Unpin), bytes: &[u8]) -> Result<(), Fail> {
    let failed = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::BrokenPipe => Fail::new(READER_LEFT, ""),
        _ => Fail::new(FILE, e.to_string()),
    };
    to.write_all(bytes).await.map_err(failed)?;
    to.flush().await.map_err(failed)
}

impl Out<'_> {
    /// An empty page for one answer.
    pub(crate) fn page(&self) -> Page {
        Page { bytes: vec![], hex: self.hex }
    }

    /// Writes bytes at once.
    ///
    /// # Errors
    /// Those of [`write`].
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), Fail> {
        write(&mut *self.to, bytes).await
    }

    /// Writes a line at once.
    ///
    /// # Errors
    /// As [`Out::send`].
    pub(crate) async fn line(&mut self, text: &str) -> Result<(), Fail> {
        self.send(format!("{text}\n").as_bytes()).await
    }

    /// Writes a value as one line of JSON.
    ///
    /// # Errors
    /// As [`Out::send`]; or the value has no JSON ([`FILE`]).
    pub(crate) async fn json(&mut self, value: &impl Serialize) -> Result<(), Fail> {
        let text = serde_json::to_string(value).map_err(|e| Fail::new(FILE, e.to_string()))?;
        self.line(&text).await
    }

    /// Writes an answer in the format asked for; there is no table of it.
    ///
    /// # Errors
    /// The format is `table` ([`FEATURE`]; nothing is written); or as [`Out::send`].
    pub(crate) async fn answer<A: Serialize>(
        &mut self,
        answer: &A,
        simple: impl FnOnce(&mut Page, &A),
        fields: impl FnOnce(&mut Page, &A),
    ) -> Result<(), Fail> {
        let mut page = self.page();
        match self.format {
            Format::Json => return self.json(answer).await,
            Format::Simple => simple(&mut page, answer),
            Format::Fields => fields(&mut page, answer),
            Format::Table => return Err(self.no_format()),
        }
        self.send(&page.bytes).await
    }

    /// Returns the refusal of a format that the verb's answer does not have.
    pub(crate) fn no_format(&self) -> Fail {
        let name = match self.format {
            Format::Simple => "simple",
            Format::Json => "json",
            Format::Fields => "fields",
            Format::Table => "table",
        };
        Fail::new(FEATURE, format!("{name} not supported as output format"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As in `etcdctl get --prefix / | head -1`.
    #[tokio::test]
    async fn a_reader_that_has_ended_ends_the_command_quietly() {
        let (mut to, said) = tokio::io::duplex(64);
        drop(said);
        let mut out = Out { format: Format::Simple, hex: false, to: &mut to };
        assert_eq!(out.line("OK").await, Err(Fail::new(READER_LEFT, "")));
    }

    #[test]
    fn sizes_quotes_and_tables_look_like_etcdctls() {
        let sizes: Vec<String> = [5, 999, 1000, 1234, 20480, 335872, 25_165_824].map(human).to_vec();
        assert_eq!(sizes, ["5 B", "999 B", "1.0 kB", "1.2 kB", "20 kB", "336 kB", "25 MB"]);
        assert_eq!(quoted(b"a\"\n\x00\xff\xc3\xa9"), "\"a\\\"\\n\\x00\\xff\u{e9}\"");
        let text = table(&["A", "LONG"], &[vec!["123".into(), "x".into()]]);
        assert_eq!(text, "+-----+------+\n|  A  | LONG |\n+-----+------+\n| 123 |    x |\n+-----+------+\n");
    }

    #[test]
    fn the_number_of_a_lease_has_sixteen_places() {
        assert_eq!(lease(0x7b), "000000000000007b");
        assert_eq!(lease(-1), "-000000000000001");
        assert_eq!(lease(i64::MIN), "-8000000000000000");
    }

    /// As `tablewriter` 0.0.5, which etcdctl 3.6 prints its tables with.
    #[test]
    fn a_cell_that_is_too_wide_has_several_lines() {
        let alarm = "memberID:10276657743932975437 alarm:NOSPACE ";
        let text = table(&["ID", "ERRORS"], &[vec!["b".into(), alarm.into()], vec!["c".into(), "".into()]]);
        let want = concat!(
            "+----+--------------------------------+\n",
            "| ID |             ERRORS             |\n",
            "+----+--------------------------------+\n",
            "|  b |  memberID:10276657743932975437 |\n",
            "|    |                 alarm:NOSPACE  |\n",
            "|  c |                                |\n",
            "+----+--------------------------------+\n",
        );
        assert_eq!(text, want);
        let url = "https://a.very.long.host.name.example.com:2379";
        for (text, lines, width) in [
            (
                "dial tcp 127.0.0.1:1: connect: connection refused after all that time",
                &["dial tcp 127.0.0.1:1: connect:", "connection refused after all", "that time"][..],
                30,
            ),
            ("a b  c dd eee ffff ggggg hhhhhh iiiiiii", &["a b  c dd eee ffff ggggg", "hhhhhh iiiiiii"], 30),
            (url, &[url], url.len()),
            ("short  two ", &["short  two "], 11),
            ("", &[""], 0),
        ] {
            let cell = Cell::of(text);
            assert_eq!(
                (cell.lines.iter().map(String::as_str).collect::<Vec<_>>(), cell.width),
                (lines.to_vec(), width)
            );
        }
    }

    #[test]
    fn characters_that_cannot_be_seen_are_escaped_in_fields() {
        let mut page = Page::default();
        let value = "a\u{a0}b\u{200b}\u{feff}".into();
        page.kv_fields("", &pb::KeyValue { value, ..pb::KeyValue::default() });
        let text = String::from_utf8(page.bytes).unwrap();
        assert!(text.contains("\"Value\" : \"a\\u00a0b\\u200b\\ufeff\"\n"), "{text}");
    }

    /// As `printer_fields.go` of etcdctl 3.6 has it.
    #[test]
    fn fields_have_a_revision_where_the_answer_has_one() {
        let fields = |revision| {
            let mut page = Page::default();
            page.header(&Some(pb::ResponseHeader { cluster_id: 1, member_id: 2, revision, raft_term: 3 }));
            String::from_utf8(page.bytes).unwrap()
        };
        let (ids, term) = ("\"ClusterID\" : 1\n\"MemberID\" : 2\n", "\"RaftTerm\" : 3\n");
        assert_eq!(fields(0), format!("{ids}{term}"), "as of `member list`");
        assert_eq!(fields(5), format!("{ids}\"Revision\" : 5\n{term}"));
    }

    /// As `printer_fields.go` of etcdctl 3.6 has it.
    #[test]
    fn hexadecimal_fields_are_the_ids() {
        let header = Some(pb::ResponseHeader { cluster_id: 171, member_id: 31, revision: 5, raft_term: 2 });
        let kv =
            pb::KeyValue { key: "a".into(), value: "\x01".into(), lease: 0x7b, ..pb::KeyValue::default() };
        let fields = |hex| {
            let mut page = Page { bytes: vec![], hex };
            page.header(&header);
            page.kv_fields("", &kv);
            String::from_utf8(page.bytes).unwrap()
        };
        let plain = fields(false);
        assert!(plain.contains("\"ClusterID\" : 171\n") && plain.contains("\"Lease\" : 123\n"), "{plain}");
        let hex = fields(true);
        for line in
            ["\"ClusterID\" : ab", "\"MemberID\" : 1f", "\"Lease\" : 000000000000007b", "\"Revision\" : 5"]
        {
            assert!(hex.lines().any(|found| found == line), "{line}: {hex}");
        }
        assert!(hex.contains("\"Key\" : \"a\"\n") && hex.contains("\"Value\" : \"\\x01\"\n"), "{hex}");
    }
}
