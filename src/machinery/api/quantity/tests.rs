use super::*;
use proptest::prelude::*;
use serde_json::json;

#[test]
fn amounts_of_resources_have_thousandths() {
    let kind = crate::kinds::find("", "v1", "Pod").expect("a kind of the table");
    let amounts = json!({"cpu": "100u", "memory": "1Mi", "example.com/a": "1500u"});
    let container = json!({"name": "c", "resources": {"requests": amounts}});
    let volume = json!({"name": "v", "emptyDir": {"sizeLimit": "100u"}});
    let mut pod = json!({"spec": {"containers": [container], "volumes": [volume]}});
    crate::schema::conform(kind, &mut pod).unwrap();
    assert_eq!(
        pod["spec"]["containers"][0]["resources"]["requests"],
        json!({"cpu": "1m", "memory": "1Mi", "example.com/a": "2m"})
    );
    assert_eq!(pod["spec"]["volumes"][0]["emptyDir"]["sizeLimit"], "100u", "it is no resource");
}

#[test]
fn amounts_are_rounded_up_to_whole_units() {
    for (text, want) in
        [("1500m", "2"), ("1Gi", "1Gi"), ("1", "1"), ("1u", "1"), ("-1500m", "-2"), ("1e30", "1e30")]
    {
        assert_eq!(Quantity::parse(text).unwrap().rounded_to_units().to_string(), want);
    }
}

/// A sum that just passes the largest number is the largest amount, not a negative one.
#[test]
fn the_largest_amounts_do_not_turn_round() {
    let huge = Quantity::parse(".00154742504910672534362390527Ei").unwrap();
    assert_eq!(huge.units(), 1_784_059_615_882_450);
    assert_eq!(Quantity::parse("1.0000000000000000000000000Ei"), Quantity::parse("1Ei"));
    assert_eq!(Quantity::parse("9999999999999999999999999999Ei").unwrap().number, BINARY_MAX);
    assert_eq!(Quantity::parse("0.0000000001").unwrap().number, 1, "rounded up");
    let long = format!("0.{}1Ei", "0".repeat(400));
    assert_eq!(Quantity::parse(&long).unwrap().number, 1, "rounded up");
}

#[test]
fn exponents_of_any_size_are_read() {
    for (text, nano) in [
        ("1e28", 10i128.pow(37)),
        ("-1E9", -NANO * NANO),
        ("0e99", 0),
        ("1e-9", 1),
        ("15e-10", 2),
        ("1e-19", 1),
        ("100000000000000000000e-20", NANO),
        ("-1e-99", -1),
        ("0e-99", 0),
        ("1.5e+3", 1500 * NANO),
    ] {
        let read = Quantity::parse(text).map(|q| (q.number, q.power));
        assert_eq!(read, Some((nano, NANO_POWER)), "{text}");
    }
    for none in ["1e", "1e1.5", "1e+", "1ee1", "1e99999999999999999999"] {
        assert!(Quantity::parse(none).is_none(), "{none}");
    }
}

#[test]
fn the_canonical_form_loses_nothing() {
    for (text, canonical) in [
        ("0.5", "500m"),
        ("1.5", "1500m"),
        ("1000m", "1"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("1000Mi", "1000Mi"),
        ("100Ki", "100Ki"),
        ("0.5Mi", "512Ki"),
        ("1023", "1023"),
        ("2000000", "2M"),
        ("1e3", "1e3"),
        ("-5", "-5"),
        ("0", "0"),
        ("9999999999999999999", "9999999999999999999"),
    ] {
        assert_eq!(Quantity::parse(text).map(|q| q.to_string()).as_deref(), Some(canonical), "{text}");
    }
    for bad in ["", " ", "abc", "1x", "1.2.3", "--1", "1 Gi", "1e"] {
        assert!(Quantity::parse(bad).is_none(), "{bad}");
    }
}

/// As apimachinery 0.35 prints them; but for those beyond `E`, which lose their suffix there.
#[test]
fn large_amounts_keep_their_value() {
    for (text, canonical) in [
        ("9223372036854775808", "9223372036854775808"),
        ("1e19", "10e18"),
        ("10E", "10E"),
        ("100000P", "100E"),
        ("1001E", "1001E"),
        ("1000E", "1000E"),
        ("1000000000000000000000", "1000E"),
        ("1e28", "10e27"),
        ("-1e28", "-10e27"),
        ("1E99", "1e99"),
        ("1e2147483647", "10e2147483646"),
        ("123456789012345678e5", "12345678901234567800e3"),
        ("9223372036854775808k", "9223372036854775808k"),
        ("12345678901234567890m", "12345678901234567890m"),
        ("0.12345678901234567890123456789", "123456790n"),
        ("1.00000000000000000000000000000000000000000000", "1"),
        ("00000000000000000000000000000000000000000000001", "1"),
        ("9999999999999999999999999999E", "9999999999999999999999999999E"),
        ("8Ei", "9223372036854775807"),
        ("100Ei", "9223372036854775807"),
        ("-100Ei", "-9223372036854775807"),
        ("9223372036854775808Ki", "9223372036854775807"),
        ("100000000000000000000Ki", "9223372036854775807"),
        ("0.0001Ki", "102400u"),
    ] {
        let read = Quantity::parse(text).expect(text);
        assert_eq!(read.to_string(), canonical, "{text}");
        assert_eq!(Quantity::parse(canonical), Some(read), "{text}");
    }
    let long = Quantity::parse(&"7".repeat(500)).unwrap();
    assert_eq!(Quantity::parse(&long.to_string()), Some(long));
}

#[test]
fn large_amounts_are_compared_and_added() {
    let read = |text: &str| Quantity::parse(text).unwrap();
    let rising = ["-1e99", "-1e40", "-10E", "-1", "0", "1n", "9223372036854775807", "9223372036854775808"];
    let rising =
        rising.into_iter().chain(["1e19", "11E", "1e28", "1e29", "1e30", "2e30", "1e99", "1e2147483647"]);
    let rising: Vec<Quantity> = rising.map(read).collect();
    assert!(rising.windows(2).all(|pair| pair[0] < pair[1]), "{rising:?}");
    let largest = read("9223372036854775807");
    for (sum, text) in [
        (largest + largest, "18446744073709551614"),
        (read("7Ei") + read("7Ei"), "14Ei"),
        (read("10E") + read("1"), "10000000000000000001"),
        (read("1e28") + read("1"), "10000000000000000000000000001"),
        (read("1e30") + read("1e30"), "2e30"),
        (read("100E") - read("100E"), "0"),
        (read("0") - read("100E"), "-100E"),
        (read("1e99") - read("1e99"), "0"),
    ] {
        assert_eq!(sum.to_string(), text);
    }
    assert_eq!(
        read("1e2147483647") + read("1"),
        read("1e2147483647") + read("1n"),
        "one unit of the last digit"
    );
    let huge = read("90000000000000000000000000000000000000n");
    assert!(huge + huge > huge && read("0") - huge - huge < read("0") - huge);
    for (amount, units) in [("10E", i64::MAX), ("1e99", i64::MAX), ("-1e99", i64::MIN), ("-10E", i64::MIN)] {
        assert_eq!((read(amount).units(), read(amount).milli()), (units, units), "{amount}");
        assert_eq!(read(amount).as_integer(), None, "{amount}");
        assert_eq!(read(amount).rounded(), read(amount));
    }
    assert_eq!(read("2k").as_integer(), Some(2000));
}

/// As apimachinery 0.35 writes them back.
#[test]
fn short_numbers_keep_their_text() {
    for text in [
        "1.500",
        "+5",
        "-1.500",
        "+0100m",
        "5.",
        "007",
        "1024",
        "01Mi",
        "1.Gi",
        "1025Ki",
        "99999999999999Ki",
        "99Ti",
        "1E3",
        "1e03",
        "1E-3",
        "1e+21",
        "100u",
        "2.000100",
        "123456789.123",
        "1.000000001",
        "123456789012345678",
    ] {
        assert_eq!(as_stored(text).as_deref(), Ok(text));
    }
    for (text, canonical) in [
        ("0.5", "500m"),
        (".5", "500m"),
        ("1.5000", "1500m"),
        ("2.500000", "2500m"),
        ("1.00000001", "1000000010n"),
        ("0.001500", "1500u"),
        ("12000m", "12"),
        ("5.0", "5"),
        ("1.50e3", "1500"),
        ("1e-1", "100e-3"),
        ("00", "0"),
        ("+0", "0"),
        ("0Ki", "0"),
        ("1024Mi", "1Gi"),
        ("0.100000000000000000000000000000000000000", "100m"),
    ] {
        assert_eq!(as_stored(text).as_deref(), Ok(canonical), "{text}");
        assert_eq!(as_stored(canonical).as_deref(), Ok(canonical));
    }
    let kind = crate::kinds::find("", "v1", "Pod").expect("a kind of the table");
    let amounts =
        json!({"cpu": "1.500", "memory": "+5", "example.com/a": "1.000000001", "x": 1.5, "y": 2e21});
    let mut pod = json!({"spec": {"containers": [{"resources": {"limits": amounts}}]}});
    crate::schema::conform(kind, &mut pod).unwrap();
    assert_eq!(
        pod["spec"]["containers"][0]["resources"]["limits"],
        json!({"cpu": "1.500", "memory": "+5", "example.com/a": "1001m", "x": "1500m", "y": "2e+21"})
    );
}

/// As apimachinery 0.35 tells them.
#[test]
fn errors_name_the_part_that_is_wrong() {
    for text in ["5x", "1.2.3", "abc", "1 Gi", "1e1.5", "1Kib", "1g", "1e5e", "1E5m", "1..", "1,5", "0x10"] {
        assert_eq!(Quantity::read(text).unwrap_err(), INVALID, "{text}");
    }
    for text in ["--1", "1e", "1ee1", "1K", "1mm", "1e+", "1e99999999999999999999", "1i", "1Ei1", "e", "m5"] {
        assert_eq!(Quantity::read(text).unwrap_err(), BAD_SUFFIX, "{text}");
    }
    for text in ["Ei", "-Pi", "e-10"] {
        assert_eq!(Quantity::read(text).unwrap_err(), BAD_NUMBER, "{text}");
    }
    assert_eq!(conform(&mut json!("1K")), Err(BAD_SUFFIX.to_string()));
}

/// As apimachinery 0.35 reads them.
#[test]
fn text_without_digits_is_zero_and_no_text_is_nothing() {
    for text in ["+", "-", ".", "+.", "m", "-m", "Mi", "e3", "E3", "E"] {
        assert_eq!(Quantity::parse(text).map(|q| q.to_string()).as_deref(), Some("0"), "{text}");
    }
    for text in ["", " "] {
        let mut value = json!(text);
        assert_eq!(conform(&mut value), Err(INVALID.to_string()), "{text:?}");
    }
    let kind = crate::kinds::find("", "v1", "Pod").expect("a kind of the table");
    let with = |cpu: Value| json!({"spec": {"containers": [{"resources": {"limits": {"cpu": cpu}}}]}});
    let mut pod = with(json!(""));
    assert_eq!(crate::schema::conform(kind, &mut pod).unwrap_err(), INVALID);
    let mut pod = with(Value::Null);
    crate::schema::conform(kind, &mut pod).unwrap();
    assert_eq!(pod, with(json!("0")), "null is the zero value");
}

/// As apimachinery 0.35 prints them.
#[test]
fn floats_are_those_of_upstream() {
    for (text, float) in [
        ("0", 0.0),
        ("m", 0.0),
        ("1m", 0.001),
        ("100u", 9.999999999999999e-05),
        ("1n", 1e-09),
        ("0.1", 0.1),
        ("1.5", 1.5),
        ("3.3", 3.3000000000000003),
        ("50k", 50_000.0),
        ("1e-3", 0.001),
        ("100G", 1e11),
        ("1E", 1e18),
        ("1.5Gi", 1_610_612_736.0),
        ("1.234567Gi", 1.325606222430208e9),
        ("123456789n", 0.12345678900000001),
        ("0.30000000000000004", 0.300000001),
        ("9223372036854775807", 9.223372036854776e18),
        ("10E", 1e19),
        ("1E99", 1.0000000000000001e99),
        ("1000000000000000000", 1.0000000000000001e18),
        ("12345678901234567890123456789012345678901234567890", 1.234567890123457e49),
    ] {
        assert_eq!(Quantity::parse(text).map(|q| q.approximate()), Some(float), "{text}");
    }
    let sum = Quantity::parse("1").zip(Quantity::parse("100u")).map(|(a, b)| a + b);
    assert_eq!(sum.map(|q| q.approximate()), Some(1_000_100.0 * 1e-6));
    assert_eq!(Quantity::parse("1e400").map(|q| q.approximate()), Some(f64::INFINITY));
}

proptest! {
    #[test]
    fn printing_and_parsing_agree(n in 0i64..1 << 50, suffix in "(m|k|M|Ki|Mi|u|)") {
        let q = Quantity::parse(&format!("{n}{suffix}")).unwrap();
        prop_assert_eq!(Quantity::parse(&q.to_string()).unwrap(), q);
    }

    /// What is stored is read, stored and compared again.
    #[test]
    fn the_stored_text_is_the_same_amount_and_stays(
        text in r"[+-]?[0-9]{0,6}(\.[0-9]{0,7})?(m|k|M|Ki|Mi|Gi|u|n|e-?[0-9]|)",
    ) {
        if let Ok(stored) = as_stored(&text) {
            prop_assert_eq!(Quantity::parse(&stored), Quantity::parse(&text));
            prop_assert_eq!(as_stored(&stored), Ok(stored.clone()));
        }
    }
}
