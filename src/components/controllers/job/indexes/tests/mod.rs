mod failures;

use super::*;

#[test]
fn sets_survive_writing_and_reading() {
    for text in ["", "0", "0,1", "0-2", "1,3-5,7", "0,1,4-9"] {
        assert_eq!(Indexes::parse(text, 10).to_string(), text);
    }
    assert_eq!(Indexes::parse("0-20,x,5-y", 3).to_string(), "0-2");
    assert_eq!(Indexes::parse("7,3-5,4-6,1", 10).to_string(), "1,3-7");
    assert_eq!(Indexes::parse("5-1,-3,0", 10).to_string(), "0");
}

#[test]
fn two_thousand_million_indexes_are_one_interval() {
    let mut all = Indexes::parse("0-2147483646,0-2147483646", i32::MAX);
    assert_eq!((all.len(), all.0.len()), (i32::MAX, 1));
    assert_eq!(all.next_outside(0), Some(i32::MAX));
    all.extend([i32::MAX]);
    assert_eq!((all.len(), all.next_outside(7)), (i32::MAX, None));
    assert_eq!(all.common(&Indexes::parse("3-5,9,100-2000000000", i32::MAX)), 2_000_000_000 - 99 + 4);
}

#[test]
fn intervals_say_what_a_plain_set_says() {
    let rng = rng::Rng::seeded(7);
    for _ in 0..200 {
        let pick =
            |n: u64| (0..n).map(|_| (rng.u64() % 40) as i32).collect::<std::collections::BTreeSet<_>>();
        let (a, b) = (pick(rng.u64() % 30), pick(rng.u64() % 30));
        let of = |plain: &std::collections::BTreeSet<i32>| {
            let mut set = Indexes::default();
            set.extend(plain.iter().copied());
            set
        };
        let (x, y) = (of(&a), of(&b));
        assert_eq!(Indexes::parse(&x.to_string(), 40), x);
        assert_eq!((x.len(), x.common(&y)), (a.len() as i32, a.intersection(&b).count() as i32));
        for index in 0..41 {
            assert_eq!(x.contains(index), a.contains(&index));
            assert_eq!(x.next_outside(index), (index..).find(|i| !a.contains(i)));
        }
    }
}
