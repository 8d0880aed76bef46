//! Refuses texts whose reading takes far more time or memory than their length.

use super::read::ADDED_MAX;
use super::scan::{self, BYTE_ORDER_MARK, Most};
use crate::bounds;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use std::cell::Cell;
use std::fmt;

/// Nodes of a text that is judged, as [`scan::Scanned::nodes`] counts them: some 40 MB while it is
/// read (`BODY_NODES_MAX` says what one takes), and many times as many as a long lesson has.
const NODES_MAX: usize = 200_000;

/// Judges a text before serde_yaml reads it into a type of the caller's: brackets may nest
/// [`bounds::DEPTH_MAX`] levels deep (its scanner looks at each open one for every word), there are
/// `NODES_MAX` nodes at most, and what aliases and tags add is bounded (it follows each alias, so
/// that `a: &a [0, 0, …]` and `b: [*a, *a, …]` multiply). [`parse_body`](super::parse_body) judges
/// so by itself.
///
/// # Errors
/// Which of the four it is. What is wrong with the text otherwise is left to its reader.
pub fn judge(text: &str) -> Result<(), String> {
    if tags_multiply(text) {
        return Err(TAGS_MULTIPLY.into());
    }
    let scanned = scan::scan(text, Most { depth: bounds::DEPTH_MAX, nodes: NODES_MAX });
    if scanned.deepest > bounds::DEPTH_MAX {
        return Err(format!("nests deeper than {} levels", bounds::DEPTH_MAX));
    }
    if scanned.nodes > NODES_MAX {
        return Err(format!("has too many keys and values (more than {NODES_MAX})"));
    }
    if !text.contains('*') {
        return Ok(()); // no alias
    }
    let left = Cell::new(Some(text.len().saturating_mul(2).saturating_add(ADDED_MAX)));
    let nodes = Cell::new(NODES_MAX);
    // The reader reports the other mistakes of the text.
    let _ = Counted { left: &left, nodes: &nodes }.deserialize(serde_yaml::Deserializer::from_str(text));
    match left.get() {
        Some(_) => Ok(()),
        None => Err("its aliases multiply what it says".into()),
    }
}

/// Why a text is refused whose [`tags_multiply`].
pub(super) const TAGS_MULTIPLY: &str = "the prefixes of its tags multiply what it says";

/// Returns whether the tags of a text may add more to it than [`ADDED_MAX`] and twice its length.
/// The library writes out each tag and keeps it: with `%TAG !e! tag:example.org:` before it,
/// `!e!a` becomes `tag:example.org:a`. A prefix of a megabyte and a hundred thousand tags would
/// take 100 GB.
///
/// Each line that may be such a directive counts, and each `!` as a tag, wherever they stand: what
/// the scanner of the library takes for a tag does not depend on ours.
pub(super) fn tags_multiply(text: &str) -> bool {
    if !text.contains("%TAG") {
        return false;
    }
    let lines = text.split(scan::is_break).map(|line| line.trim_start_matches(BYTE_ORDER_MARK));
    let prefixes: usize = lines.filter(|line| line.starts_with("%TAG")).map(str::len).sum();
    let most = text.len().saturating_mul(2).saturating_add(ADDED_MAX);
    prefixes.saturating_mul(text.matches('!').count()) > most
}

/// A node that is counted and not kept.
#[derive(Clone, Copy)]
struct Counted<'a> {
    /// Values and bytes of text that may still be read; `None`: there were more.
    left: &'a Cell<Option<usize>>,
    /// Values that may still be read, those that aliases repeat among them.
    nodes: &'a Cell<usize>,
}

impl Counted<'_> {
    fn spend<E: Error>(self, amount: usize) -> Result<(), E> {
        self.left.set(self.left.get().and_then(|left| left.checked_sub(amount)));
        self.left.get().map(drop).ok_or_else(|| E::custom("too much"))
    }

    fn count_node<E: Error>(self) -> Result<(), E> {
        match self.nodes.get().checked_sub(1) {
            Some(left) => self.nodes.set(left),
            None => self.left.set(None),
        }
        self.spend(1)
    }
}

impl<'de> DeserializeSeed<'de> for Counted<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        self.count_node()?;
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Counted<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("any YAML value")
    }
    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_i128<E: Error>(self, _: i128) -> Result<(), E> {
        Ok(())
    }
    fn visit_u128<E: Error>(self, _: u128) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.spend(value.len())
    }
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_none<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self)?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while fields.next_key_seed(self)?.is_some() {
            fields.next_value_seed(self)?;
        }
        Ok(())
    }
    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<(), A::Error> {
        let (_, value) = tagged.variant::<String>()?;
        value.newtype_variant_seed(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_costs_what_its_length_says() {
        let many = |what: &str| what.repeat(12_000);
        let multiplied = format!("a: &a [{}]\nb: [{}]\n", many("x,"), many("*a,"));
        assert!(judge(&multiplied).is_err_and(|why| why.contains("aliases")));
        let in_a_key = format!("a: &a [{}]\n? [{}]\n: c\n", many("x,"), many("*a,"));
        assert!(judge(&in_a_key).is_err_and(|why| why.contains("aliases")));
        let long =
            format!("# {}\na: &a [{}]\nb: [{}]\n", many("a remark "), "0,".repeat(500), "*a,".repeat(500));
        assert!(judge(&long).is_err_and(|why| why.contains("aliases")), "a long text gives them no room");
        for open in ["[", "{a: ", "[{a: "] {
            assert!(judge(&many(open)).is_err_and(|why| why.contains("nests")), "{open}");
        }
        let large = "a: .nan\nb: &b 340282366920938463463374607431768211455\nc: *b\n";
        for sound in ["", "a: &a [1, 2]\nb: *a\n", large, "*", "["] {
            assert_eq!(judge(sound), Ok(()), "{sound}");
        }
        assert_eq!(judge(&format!("a: '{}*'\n", many("[{"))), Ok(()), "quoted");
        assert_eq!(judge(&format!("a: &a [1]\nb: [{}]\n", many("*a,"))), Ok(()), "few values each");
    }

    /// The library passes over one at the start of each line, and then meets the brackets.
    #[test]
    fn brackets_behind_a_byte_order_mark_are_counted() {
        let open = "[".repeat(10_000);
        for start in ["\u{feff}", "\u{feff}\u{feff}", "# a\n\u{feff}", "---\r\u{feff} ", "a:\n\u{feff}"] {
            let text = format!("{start}{open}");
            assert!(judge(&text).is_err_and(|why| why.contains("nests")), "{start:?}");
            let refused = crate::yaml::parse(text.as_bytes()).unwrap_err();
            assert!(refused.contains("exceeded max depth"), "{start:?}: {refused}");
        }
        let read = crate::yaml::parse("a: yes\n\u{feff}# b\nc: [\u{feff}d]\n".as_bytes()).unwrap();
        assert_eq!(read, serde_json::json!({"a": true, "c": ["\u{feff}d"]}));
    }

    /// The library keeps an event of 100 bytes for each.
    #[test]
    fn keys_and_values_of_a_body_are_counted() {
        use crate::yaml::{BODY_NODES_MAX, Words, parse_body, parse_document, respelled_within};
        for (text, nodes) in [
            ("[a,'b',*c]", 7),
            ("[!,&a,!!str &b ]", 8),
            ("{a: 1,b: [],c: {}}", 18),
            ("{a,? b}", 7),
            ("- a\n- b: &x |\n    text [1, 2]\n", 10),
            ("a:\nb:\n", 6),
            ("- - -\n", 6),
            ("-\n-\n? !!str\n", 7),
            ("%YAML 1.1\n---\n# a: b\n...\n", 3),
        ] {
            assert!(respelled_within(text.as_bytes(), Words::All, nodes).is_ok(), "{text}");
            let more = nodes.checked_sub(1).map(|most| respelled_within(text.as_bytes(), Words::All, most));
            assert!(more.is_none_or(|refused| refused.is_err()), "{text}");
        }
        for (each, nodes) in [("b,", 2), ("!,", 2), ("&b,", 2), ("*b,", 2), ("[],", 3), ("? !,", 4)] {
            let many = format!("a: [{}]\n", each.repeat(BODY_NODES_MAX / nodes));
            let refused = parse_body(many.as_bytes()).unwrap_err();
            let why = "the document has too many keys and values (more than 700000)";
            assert!(refused.ends_with(why), "{each}: {refused}");
        }
        let few = format!("a: [{}]\n", "b,".repeat(1000));
        assert_eq!(parse_body(few.as_bytes()), parse_document(few.as_bytes(), Words::All));
    }

    /// Without this bound the second list makes six million nodes: what a body adds by aliases may
    /// be as long as the body, and a comment makes that long.
    #[test]
    fn aliases_of_a_body_count_as_what_they_repeat() {
        use crate::yaml::parse_body;
        let body = |times: usize| {
            let (comment, list) = ("x".repeat(3 << 20), "{b: 1},".repeat(1000));
            format!("# {comment}\na: &a [{list}]\nb: [{}]\n", "*a,".repeat(times))
        };
        let refused = parse_body(body(2000).as_bytes()).unwrap_err();
        assert!(refused.ends_with("document contains excessive aliasing"), "{refused}");
        let read = parse_body(body(100).as_bytes()).unwrap().value;
        assert_eq!(read["b"][99][999]["b"], 1);
    }

    /// A text costs its length alone, whatever stands in it.
    #[test]
    fn large_ordinary_bodies_are_taken() {
        use crate::yaml::parse_body;
        let line = "    - {a: [b, c], d: 'e'}, ? !f &g *h: \"i\" # [j, k]\n";
        let page = line.repeat((1 << 20) / line.len());
        let flat = page.replace('\n', ";");
        for (written, want) in [
            (format!("|\n{page}"), page.replace("    - {", "- {")),
            (serde_json::to_string(&page).unwrap(), page),
            (format!("'{}'", flat.replace('\'', "''")), flat),
        ] {
            let read = parse_body(format!("kind: ConfigMap\ndata:\n  page: {written}\n").as_bytes()).unwrap();
            assert!(read.value["data"]["page"] == want, "{}", &written[..20]);
        }
        let expected = |n: usize| format!("What field {n} of the object stands for, as its author says it.");
        let block = |n: usize| {
            format!("        field{n}:\n          description: {}\n          type: string\n", expected(n))
        };
        let flow = |n: usize| format!(r#""field{n}":{{"description":"{}","type":"string"}}"#, expected(n));
        let (blocks, flows): (Vec<String>, Vec<String>) = (0..22_000).map(|n| (block(n), flow(n))).unzip();
        for bundle in [
            format!(
                "kind: CustomResourceDefinition\nspec:\n    schema:\n      properties:\n{}",
                blocks.concat()
            ),
            format!(r#"{{"kind":"X","spec":{{"schema":{{"properties":{{{}}}}}}}}}"#, flows.join(",")),
        ] {
            assert!((2 << 20..3 << 20).contains(&bundle.len()), "{}", bundle.len());
            let read = parse_body(bundle.as_bytes()).unwrap().value;
            assert_eq!(read["spec"]["schema"]["properties"]["field21999"]["description"], expected(21_999));
        }
    }

    #[test]
    fn a_text_that_is_judged_has_a_bound_on_its_nodes() {
        for each in ["!,", "&a,", "b,"] {
            let many = |times: usize| format!("a: [{}]\n", each.repeat(times));
            assert!(judge(&many(NODES_MAX / 2)).is_err_and(|why| why.contains("too many keys")), "{each}");
            assert_eq!(judge(&many(NODES_MAX / 2 - 10)), Ok(()), "{each}");
        }
    }

    #[test]
    fn prefixes_of_tags_do_not_multiply_without_a_bound() {
        let text = |start: &str, prefix: usize, tags: usize| {
            format!("{start}%TAG !e! {}\n---\na: [{}]\n", "p".repeat(prefix), "!e!x b, ".repeat(tags))
        };
        for start in ["", "\u{feff}", "# a comment\r\n", "# a comment\u{2028}"] {
            let refused = text(start, 20_000, 10_000);
            assert_eq!(judge(&refused), Err(TAGS_MULTIPLY.to_string()), "{start:?}");
            let refused = crate::yaml::parse(refused.as_bytes()).unwrap_err();
            assert!(refused.ends_with(TAGS_MULTIPLY), "{start:?}: {refused}");
        }
        let lines = format!("{}---\na: b\n", "%TAG !e! p\n".repeat(10_000));
        assert_eq!(judge(&lines), Err(TAGS_MULTIPLY.to_string()), "each is compared with all others");
        for sound in [text("", 30, 10_000), text("", 20_000, 20)] {
            assert_eq!(judge(&sound), Ok(()));
            assert_eq!(crate::yaml::parse(sound.as_bytes()).unwrap()["a"][0], "b");
        }
        let quoted = format!("a: '{}'\nb: \" %TAG\"\n", "!".repeat(100_000));
        assert_eq!(judge(&quoted), Ok(()));
    }
}
