//! `-o custom-columns=NAME:.metadata.name,IMAGE:.spec.containers[*].image`

use super::jsonpath::{self, JsonPath};
use super::tab::Remembering;
use super::table::escaped;
use api::gostr;
use parking_lot::Mutex;
use serde_json::Value;

pub(crate) struct Columns {
    columns: Vec<(String, JsonPath)>,
    headers: bool,
    /// A watch prints one object after another in columns that never get narrower.
    widths: Mutex<Remembering>,
}

impl Columns {
    /// Reads the paths of the command line. Errors have kubectl's words.
    pub(crate) fn parse(spec: &str, headers: bool) -> Result<Columns, String> {
        if spec.is_empty() {
            return Err("custom-columns format specified but no custom columns given".into());
        }
        let mut columns = vec![];
        for part in spec.split(',') {
            let Some((name, path)) = part.split_once(':') else {
                return Err(format!(
                    "unexpected custom-columns spec: {part}, expected <header>:<json-path-expr>"
                ));
            };
            columns.push((name.to_string(), jsonpath::relaxed(path)?));
        }
        Ok(Columns { columns, headers, widths: Mutex::default() })
    }

    /// Reads the columns of a file: a line of names, a line of paths. The names are printed, also
    /// with `--no-headers`: kubectl obeys that flag only beside paths on the command line.
    pub(crate) fn parse_file(text: &str) -> Result<Columns, String> {
        let mut lines = text.lines();
        let missing = |what: &str| {
            format!(
                "invalid template, missing {what} line. Expected format is one line of space separated headers, one line of space separated column specs."
            )
        };
        let names = lines.next().ok_or_else(|| missing("header"))?;
        let paths = lines.next().ok_or_else(|| missing("spec"))?;
        let (names, paths): (Vec<&str>, Vec<&str>) =
            (names.split_whitespace().collect(), paths.split_whitespace().collect());
        if names.len() != paths.len() {
            return Err(format!(
                "number of headers ({}) and field specifications ({}) don't match",
                names.len(),
                paths.len()
            ));
        }
        let columns = names
            .iter()
            .zip(paths)
            .map(|(n, p)| Ok((n.to_string(), jsonpath::relaxed(p)?)))
            .collect::<Result<_, String>>()?;
        Ok(Columns { columns, headers: true, widths: Mutex::default() })
    }

    /// Prints objects as rows. `first`: nothing was printed with these columns yet, so the header
    /// comes before the rows.
    pub(crate) fn print(&self, objects: &[Value], first: bool) -> Result<String, String> {
        let mut rows: Vec<Vec<String>> = vec![];
        if self.headers && first {
            rows.push(self.columns.iter().map(|(name, _)| name.clone()).collect());
        }
        for object in objects {
            let mut cells = vec![];
            for (_, path) in &self.columns {
                let found: Vec<Value> = path.find(object)?.into_iter().flatten().collect();
                // A null is `<nil>`, in contrast to a field that is missing.
                let texts: Vec<String> = found.iter().map(|v| escaped(&gostr::plain(v))).collect();
                cells.push(if texts.is_empty() { "<none>".to_string() } else { texts.join(",") });
            }
            rows.push(cells);
        }
        Ok(self.widths.lock().rows(&rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_of_paths() {
        let objects = [json!({"m": {"n": "web"}, "i": [{"x": "a"}, {"x": "b"}]}), json!({"m": {"n": "y"}})];
        let columns = Columns::parse("NAME:.m.n,X:.i[*].x", true).unwrap();
        assert_eq!(columns.print(&objects, true).unwrap(), "NAME   X\nweb    a,b\ny      <none>\n");
        let numbers = Columns::parse("A:.a,B:.b,C:.c", false).unwrap();
        let object = json!({"a": 1e-7, "b": 1e21, "c": null});
        assert_eq!(numbers.print(&[object], true).unwrap(), "1e-07   1e+21   <nil>\n");
        let rest = columns.print(&objects[1..], false).unwrap();
        assert_eq!(rest, "y      <none>\n", "a watch prints one object after another");
        let nulls = [json!({"m": {"n": null}})];
        assert_eq!(Columns::parse("N:.m.n", false).unwrap().print(&nulls, true).unwrap(), "<nil>\n");
        let hostile = [json!({"m": {"n": "a\u{1b}[2J\r"}})];
        assert_eq!(Columns::parse("N:.m.n", false).unwrap().print(&hostile, true).unwrap(), "a^[[2J\\r\n");
        assert_eq!(
            Columns::parse("NAME", true).err().unwrap(),
            "unexpected custom-columns spec: NAME, expected <header>:<json-path-expr>"
        );
    }

    #[test]
    fn a_file_has_a_line_of_names_and_one_of_paths() {
        let columns = Columns::parse_file("NAME  X\n.m.n  .i\n").unwrap();
        let objects = [json!({"m": {"n": "web"}, "i": 1})];
        assert_eq!(columns.print(&objects, true).unwrap(), "NAME   X\nweb    1\n");
        let error = |text: &str| Columns::parse_file(text).err().unwrap();
        assert!(error("").starts_with("invalid template, missing header line. Expected"));
        assert!(error("NAME\n").starts_with("invalid template, missing spec line. Expected"));
        assert_eq!(error("A B\n.a\n"), "number of headers (2) and field specifications (1) don't match");
    }
}
