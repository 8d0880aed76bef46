//! The ranges of an `Accept` header, in the order in which they are tried (upstream: `goautoneg`).
//!
//! Media types are compared as they are written, as upstream does: `Application/JSON` is not
//! `application/json` here, and a range of quality 0 is only the last one.

/// Ranges of a header that are looked at. Their order is compared in pairs, and a head may have
/// thousands.
const RANGES_MAX: usize = 64;

/// One range: `application/json;as=Table;v=v1;g=meta.k8s.io;q=0.9`.
#[derive(Debug)]
pub(crate) struct Range<'a> {
    /// `application`
    main: &'a str,
    /// `json`
    sub: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    quality: f32,
}

/// Reads an `Accept` header: the ranges of higher quality first, and of the same quality specific
/// ones before those with a `*`. As upstream a specific range of lower quality also goes before a
/// `*` that stands before it in the header. What is no range is passed over.
///
/// Example: `*/*, text/html;q=0.5, application/json` is tried in the order `application/json`,
/// `text/html`, `*/*`.
pub(crate) fn ranges(accept: &str) -> Vec<Range<'_>> {
    let mut sorted: Vec<Range> = vec![];
    // The order is not transitive, so the way it is sorted counts: Go inserts one after the other.
    for range in accept.split(',').filter_map(Range::parse).take(RANGES_MAX) {
        let before = sorted.iter().rev().take_while(|other| range.precedes(other)).count();
        sorted.insert(sorted.len() - before, range);
    }
    sorted
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Option<Range<'a>> {
        let mut parts = text.split(';');
        let media = parts.next().unwrap_or_default();
        let (main, sub) = match media.split_once('/') {
            Some((main, sub)) => (main.trim(), sub.trim()),
            None if media.trim() == "*" => ("*", "*"),
            None => return None,
        };
        if sub.is_empty() || sub.contains('/') {
            return None;
        }
        let mut range = Range { main, sub, parameters: vec![], quality: 1.0 };
        for (key, value) in parts.filter_map(|part| part.split_once('=')) {
            match key.trim() {
                _ if value.is_empty() || value.contains('=') => {}
                "q" => range.quality = value.parse().unwrap_or(0.0),
                key => range.parameters.push((key, value.trim())),
            }
        }
        Some(range)
    }

    fn precedes(&self, other: &Range) -> bool {
        self.quality > other.quality
            || self.main != "*" && other.main == "*"
            || self.sub != "*" && other.sub == "*"
    }

    /// Returns the value of a parameter; empty if it is not there.
    pub(crate) fn parameter(&self, key: &str) -> &'a str {
        self.parameters.iter().rev().find(|(k, _)| *k == key).map(|&(_, value)| value).unwrap_or_default()
    }

    /// Returns whether the range has this media type.
    pub(crate) fn takes(&self, media: &str) -> bool {
        let is_sub = |sub: &str| self.sub == "*" || self.sub == sub;
        match media.split_once('/') {
            Some((main, sub)) => self.main == main && is_sub(sub) || self.main == "*" && self.sub == "*",
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(accept: &str) -> Vec<String> {
        ranges(accept).iter().map(|range| format!("{}/{}", range.main, range.sub)).collect()
    }

    #[test]
    fn ranges_are_tried_by_quality_and_wildcards_last() {
        for (accept, wanted) in [
            ("", &[][..]),
            ("text/html, application/json", &["text/html", "application/json"]),
            ("text/html;q=0.5, application/json", &["application/json", "text/html"]),
            ("text/html;q=0, application/json;q=0.1", &["application/json", "text/html"]),
            ("text/html;q=x, application/json;q=0.1", &["application/json", "text/html"]),
            ("*/*, application/*, application/yaml;q=0.2", &["application/yaml", "application/*", "*/*"]),
            ("*, nothing, a/b/c, a/, application/json", &["application/json", "*/*"]),
        ] {
            assert_eq!(order(accept), wanted, "{accept}");
        }
        assert_eq!(ranges(&"a/b,".repeat(1000)).len(), RANGES_MAX);
    }

    #[test]
    fn a_range_has_parameters_and_takes_what_it_names() {
        let all = ranges("application/json; as=Table;v=v1 ;g=;x=a=b;q=0.3");
        let [range] = all.as_slice() else { panic!("{all:?}") };
        let values = ["as", "v", "g", "x", "q"].map(|key| range.parameter(key));
        assert_eq!(values, ["Table", "v1", "", "", ""]);
        assert!(range.takes("application/json") && !range.takes("application/yaml"));
        for (accept, takes) in
            [("*/*", true), ("application/*", true), ("text/*", false), ("Application/json", false)]
        {
            assert_eq!(ranges(accept)[0].takes("application/json"), takes, "{accept}");
        }
    }
}
