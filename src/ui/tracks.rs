//! Titles of tracks of lessons, and the packs that they are from.

use super::prose::harmless;
use super::texts::{Lang, Say};
use lab::view::{Entry, PackNote};

/// The name in ids, and the titles in English and Korean.
const TITLES: &[(&str, &str, &str)] = &[
    ("first-voyage", "First voyage", "첫 항해"),
    ("control-tower", "Control tower", "관제탑"),
    ("hard-way", "The hard way", "어려운 길"),
    ("operations", "Operations", "운영"),
];

/// The head of the track that begins with this entry: its title and the name that ids begin with. A
/// built-in track keeps its title, also where a pack's lesson comes first; another one whose pack
/// gives it no title has the name alone.
pub(crate) fn head_of(entry: &Entry, lang: Lang) -> String {
    let is_built_in = TITLES.iter().any(|(name, ..)| *name == entry.track);
    match entry.pack.as_ref().map(|pack| harmless(&pack.track)) {
        Some(title) if !title.is_empty() && !is_built_in => {
            format!("{title} ({})", harmless(&entry.track))
        }
        _ => head(&entry.track, lang),
    }
}

/// Whose lessons begin with this entry, where a list has to say so. `above` is the entry before it
/// in its track. Of built-in lessons it is said only below those of a pack, to which they would
/// seem to belong.
pub(crate) fn source_of(entry: &Entry, above: Option<&Entry>, lang: Lang) -> Option<String> {
    match (&entry.pack, above.and_then(|above| above.pack.as_ref())) {
        (Some(own), before) => (before != Some(own)).then(|| pack(own, lang)),
        (None, before) => before.map(|_| lang.say(Say::BuiltIn, &[])),
    }
}

/// What a pack is called, which version it is, and who wrote it: `pack: School 1.2, by Kim, Lee`.
pub fn pack(pack: &PackNote, lang: Lang) -> String {
    let named = format!("{} {}", pack.title, pack.version);
    let (named, authors) =
        (harmless(named.trim()).into_owned(), harmless(&pack.authors.join(", ")).into_owned());
    match authors.is_empty() {
        true => lang.say(Say::Pack, &[&named]),
        false => lang.say(Say::PackBy, &[&named, &authors]),
    }
}

fn head(track: &str, lang: Lang) -> String {
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
    fn a_pack_names_its_tracks_and_its_authors() {
        let note = PackNote {
            title: "School\u{1b}[31m".into(),
            authors: vec!["Kim".into(), "Lee".into()],
            version: "1.2".into(),
            track: "The harbour".into(),
        };
        assert_eq!(pack(&note, Lang::En), "pack: School[31m 1.2, by Kim, Lee");
        assert_eq!(pack(&note, Lang::Ko), "강의 묶음: School[31m 1.2 (만든 사람: Kim, Lee)");
        let bare = PackNote { title: "school".into(), ..PackNote::default() };
        assert_eq!(pack(&bare, Lang::En), "pack: school");
        let entry = |pack| Entry { track: "harbour".into(), pack: Some(pack), ..Entry::default() };
        assert_eq!(head_of(&entry(note.clone()), Lang::En), "The harbour (harbour)");
        assert_eq!(head_of(&entry(bare), Lang::En), "harbour");
        let early = Entry { track: "first-voyage".into(), ..entry(note) };
        assert_eq!(head_of(&early, Lang::En), "First voyage (first-voyage)", "the pack's comes first");
    }

    #[test]
    fn lessons_below_those_of_a_pack_do_not_seem_to_be_of_it() {
        let note = |title: &str| PackNote { title: title.into(), ..PackNote::default() };
        let of = |pack: Option<&str>| Entry { pack: pack.map(note), ..Entry::default() };
        let (own, school, harbour) = (of(None), of(Some("school")), of(Some("harbour")));
        let source = |entry: &Entry, above: Option<&Entry>| source_of(entry, above, Lang::En);
        assert_eq!([source(&own, None), source(&own, Some(&own))], [None, None]);
        assert_eq!(source(&school, Some(&school)), None);
        for above in [None, Some(&own), Some(&harbour)] {
            assert_eq!(source(&school, above).as_deref(), Some("pack: school"));
        }
        assert_eq!(source(&own, Some(&school)).as_deref(), Some("built in"));
    }

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
