use super::*;

#[test]
fn fields_are_split_as_posix_says() {
    let fields = |text: &str, separators: &str| -> Vec<String> {
        let glyphs = text.chars().map(|c| Glyph { c, kind: Kind::Result }).collect();
        split(glyphs, separators).iter().map(|f| field_text(f)).collect()
    };
    assert_eq!(fields("  a  b ", IFS), ["a", "b"]);
    assert_eq!(fields("a::b:", ":"), ["a", "", "b"]);
    assert_eq!(fields(":a", ":"), ["", "a"]);
    assert_eq!(fields("a : b", " :"), ["a", "b"]);
    assert_eq!(fields("  ", IFS), [] as [&str; 0]);
    let quoted = vec![Glyph::QUOTES];
    assert_eq!(split(quoted.clone(), IFS), [quoted]);
}
