//! `-o custom-columns=NAME:.metadata.name,IMAGE:.spec.containers[*].image`

use super::jsonpath::{self, JsonPath};
use super::table::escaped;
use super::{json, tab};
use api::gostr;
use serde_json::Value;

pub(crate) struct Columns {
    columns: Vec<(String, JsonPath)>,
    headers: bool,
}

impl Columns {
    /// The error is kubectl's.
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
        Ok(Columns { columns, headers })
    }

    /// From a file: a line of names, a line of paths.
    pub(crate) fn parse_file(text: &str, headers: bool) -> Result<Columns, String> {
        let mut lines = text.lines();
        let (names, paths) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
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
        Ok(Columns { columns, headers })
    }

    /// `first`: nothing was printed with these columns yet, so the header comes before the rows.
    pub(crate) fn print(&self, objects: &[Value], first: bool) -> Result<String, String> {
        let mut text = String::new();
        if self.headers && first {
            let names: Vec<&str> = self.columns.iter().map(|(n, _)| n.as_str()).collect();
            text.push_str(&names.join("\t"));
            text.push('\n');
        }
        for object in objects {
            let mut cells = vec![];
            for (_, path) in &self.columns {
                let found: Vec<Value> = path.find(object)?.into_iter().flatten().collect();
                let shown = |v: &Value| match v {
                    Value::Object(_) | Value::Array(_) => gostr::plain(v),
                    Value::Null => "<none>".into(),
                    Value::String(s) => s.clone(),
                    other => json::compact(other),
                };
                let texts: Vec<String> = found.iter().map(|v| escaped(&shown(v))).collect();
                cells.push(if texts.is_empty() { "<none>".to_string() } else { texts.join(",") });
            }
            text.push_str(&cells.join("\t"));
            text.push('\n');
        }
        Ok(tab::align(&text, 6, 3))
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
        let rest = columns.print(&objects[1..], false).unwrap();
        assert_eq!(rest, "y     <none>\n", "a watch prints one object after another");
        let hostile = [json!({"m": {"n": "a\u{1b}[2J\r"}})];
        assert_eq!(Columns::parse("N:.m.n", false).unwrap().print(&hostile, true).unwrap(), "a^[[2J\\r\n");
        assert_eq!(
            Columns::parse("NAME", true).err().unwrap(),
            "unexpected custom-columns spec: NAME, expected <header>:<json-path-expr>"
        );
    }
}
