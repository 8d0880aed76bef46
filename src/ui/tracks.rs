//! Titles of the built-in tracks of lessons.

use super::texts::Lang;

/// The name in ids, and the titles in English and Korean.
const TITLES: &[(&str, &str, &str)] = &[
    ("first-voyage", "First voyage", "첫 항해"),
    ("control-tower", "Control tower", "관제탑"),
    ("hard-way", "The hard way", "어려운 길"),
    ("operations", "Operations", "운영"),
];

/// The head of a track in a list: its title and the name that ids begin with. Another author's
/// track has the name alone.
pub(crate) fn head(track: &str, lang: Lang) -> String {
    let titled = TITLES.iter().find(|(name, ..)| *name == track);
    titled.map_or_else(
        || track.to_string(),
        |(name, english, korean)| {
            let title = if lang == Lang::Ko { korean } else { english };
            format!("{title} ({name})")
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::format::Library;

    #[test]
    fn every_built_in_track_has_a_title() {
        for lesson in &Library::built_in().lessons {
            for lang in [Lang::En, Lang::Ko] {
                let head = head(&lesson.track, lang);
                assert!(head.ends_with(&format!(" ({})", lesson.track)), "{head}");
            }
        }
        assert_eq!(head("first-voyage", Lang::Ko), "첫 항해 (first-voyage)");
        assert_eq!(head("harbour", Lang::Ko), "harbour");
    }
}
