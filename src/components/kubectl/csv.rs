//! Values of flags that are lists: one record of comma-separated values, as Go's `encoding/csv`
//! reads it.

const BARE: &str = "bare \" in non-quoted-field";
const UNENDED: &str = "extraneous or missing \" in quoted-field";

/// Reads the first record of a text. Empty lines before it are skipped; the text behind it is not
/// read, as by pflag.
///
/// Example: `a,"b,""c"""` is `a` and `b,"c"`.
///
/// # Errors
/// Go's, with line and column: a quote within a field that does not begin with one, a quoted field
/// without its end, or no record at all.
pub(crate) fn first_record(text: &str) -> Result<Vec<String>, String> {
    let text = text.replace("\r\n", "\n");
    let mut lines = text.split_inclusive('\n').enumerate().skip_while(|(_, line)| *line == "\n");
    let Some((start, mut line)) = lines.next() else { return Err("EOF".into()) };
    let mistake = |number: usize, column: usize, why: &str| {
        let place = format!("parse error on line {}, column {column}: {why}", number + 1);
        Err(if number == start { place } else { format!("record on line {}; {place}", start + 1) })
    };
    // The line, counted from 0, and the byte of it, counted from 1, at which `line` begins.
    let (mut number, mut column) = (start, 1);
    let mut fields = vec![];
    'fields: loop {
        let Some(mut quoted) = line.strip_prefix('"') else {
            let (field, rest) = match line.split_once(',') {
                Some((field, rest)) => (field, Some(rest)),
                None => (line.strip_suffix('\n').unwrap_or(line), None),
            };
            if let Some(at) = field.find('"') {
                return mistake(number, column + at, BARE);
            }
            fields.push(field.to_string());
            let Some(rest) = rest else { return Ok(fields) };
            (line, column) = (rest, column + field.len() + 1);
            continue;
        };
        column += 1;
        let mut field = String::new();
        loop {
            let Some((part, rest)) = quoted.split_once('"') else {
                // A quoted field may contain the end of a line and goes on in the next one.
                field.push_str(quoted);
                column += quoted.len();
                let Some((at, next)) = lines.next() else { return mistake(number, column, UNENDED) };
                (number, column, quoted) = (at, 1, next);
                continue;
            };
            field.push_str(part);
            column += part.len() + 1;
            if let Some(rest) = rest.strip_prefix('"') {
                field.push('"');
                (quoted, column) = (rest, column + 1);
            } else if let Some(rest) = rest.strip_prefix(',') {
                fields.push(field);
                (line, column) = (rest, column + 1);
                continue 'fields;
            } else if matches!(rest, "" | "\n") {
                fields.push(field);
                return Ok(fields);
            } else {
                return mistake(number, column - 1, UNENDED);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_in_go() {
        for (text, want) in [
            ("a", &["a"][..]),
            ("a,b", &["a", "b"]),
            ("a,", &["a", ""]),
            (",", &["", ""]),
            ("\"\"", &[""]),
            ("a,\"b,c\",d", &["a", "b,c", "d"]),
            ("\"say \"\"hi\"\"\"", &["say \"hi\""]),
            ("\"a\nb\",c", &["a\nb", "c"]),
            ("\n\na\nb", &["a"]),
            ("a\r\nb", &["a"]),
            ("\"a\"\nb", &["a"]),
        ] {
            assert_eq!(first_record(text).unwrap(), want, "{text:?}");
        }
    }

    #[test]
    fn a_quote_in_the_wrong_place_is_reported_with_its_place() {
        for (text, why) in [
            ("a\"b", "parse error on line 1, column 2: bare \" in non-quoted-field"),
            ("x,a\"", "parse error on line 1, column 4: bare \" in non-quoted-field"),
            ("\"a", "parse error on line 1, column 3: extraneous or missing \" in quoted-field"),
            ("\"a\"b", "parse error on line 1, column 3: extraneous or missing \" in quoted-field"),
            (
                "\"a\nb",
                "record on line 1; parse error on line 2, column 2: extraneous or missing \" in quoted-field",
            ),
            ("", "EOF"),
            ("\n", "EOF"),
        ] {
            assert_eq!(first_record(text).unwrap_err(), why, "{text:?}");
        }
    }
}
