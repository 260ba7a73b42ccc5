use super::*;

/// What the refusal says, and what is changed before.
type Change = (&'static str, fn(&mut Archive));

/// An archive of a few parts, and its objects.
fn made() -> (Place, Archive) {
    let place = Place::new(|root| {
        std::fs::write(root.join("noise"), noise(17 << 20)).unwrap();
        std::fs::create_dir(root.join("some")).unwrap();
        for number in 0..50 {
            std::fs::write(root.join(format!("some/{number}")), number.to_string()).unwrap();
        }
    });
    let archive = place.made("a");
    place.check("a", &archive).unwrap();
    (place, archive)
}

fn write(place: &Place, name: &str, bytes: &[u8]) {
    std::fs::write(place.path("store").join(name), bytes).unwrap();
}

#[test]
fn one_bit_that_is_another_is_found_wherever_it_is() {
    let (place, archive) = made();
    for name in ["a.tar.zst", "a.index.zst"] {
        let whole = place.object(name);
        let every = whole.len() / 5;
        for at in (0..whole.len())
            .step_by(every.max(1))
            .chain([whole.len() - 1])
        {
            let mut spoiled = whole.clone();
            spoiled[at] ^= 1 << (at % 8);
            write(&place, name, &spoiled);
            let (object, what) = damage(place.check("a", &archive));
            assert_eq!(object, name, "at {at}: {what}");
        }
        write(&place, name, &whole);
    }
    place.check("a", &archive).unwrap();
}

#[test]
fn an_object_that_is_cut_off_or_gone_or_of_another_archive_is_found() {
    let (place, archive) = made();
    let other = Place::new(|root| std::fs::write(root.join("other"), noise(20 << 20)).unwrap());
    other.made("a");
    for name in ["a.tar.zst", "a.index.zst"] {
        let whole = place.object(name);
        for length in [0, 1, whole.len() / 2, whole.len() - 1] {
            write(&place, name, &whole[..length]);
            damage(place.check("a", &archive));
        }
        std::fs::remove_file(place.path("store").join(name)).unwrap();
        damage(place.check("a", &archive));
        write(&place, name, &other.object(name));
        damage(place.check("a", &archive));
        write(&place, name, &whole);
    }
    place.check("a", &archive).unwrap();
}

#[test]
fn a_manifest_that_says_something_else_is_found() {
    let (place, archive) = made();
    let changes: [Change; 5] = [
        ("tree", |archive| archive.tree.files += 1),
        ("tree", |archive| archive.tree.digest.0[0] ^= 1),
        ("digest", |archive| archive.index_digest.0[0] ^= 1),
        ("parts", |archive| archive.parts += 1),
        ("parts", |archive| archive.size += 1),
    ];
    for (said, change) in changes {
        let mut other = archive.clone();
        change(&mut other);
        let (_, what) = damage(place.check("a", &other));
        assert!(what.contains(said), "{what}");
    }
}

/// Gives an archive another index, whose first line is this.
fn with_head(place: &Place, archive: &Archive, head: &str) -> Archive {
    let index = zstd::decode_all(&place.object("a.index.zst")[..]).unwrap();
    let rest = index.iter().position(|byte| *byte == b'\n').unwrap();
    let index = [head.as_bytes(), &index[rest..]].concat();
    let index = zstd::encode_all(&index[..], 3).unwrap();
    write(place, "b.index.zst", &index);
    write(place, "b.tar.zst", &place.object("a.tar.zst"));
    Archive {
        index_size: index.len() as u64,
        index_digest: blake3::hash(&index).into(),
        ..archive.clone()
    }
}

#[test]
fn an_index_of_a_newer_format_is_no_damage_unless_it_is_damaged_as_well() {
    let (place, archive) = made();
    let other = with_head(&place, &archive, r#"{"kubectlMigrateIndex":{"format":1}}"#);
    place.check("b", &other).unwrap();
    let head = r#"{"kubectlMigrateIndex":{"format":7,"more":"than we know"}}"#;
    let mut other = with_head(&place, &archive, head);
    let newer = place.check("b", &other).unwrap_err();
    let wanted = Fault::Newer {
        object: "b.index.zst".to_owned(),
        format: 7,
        reads: 1,
    };
    assert_eq!(newer, wanted);
    assert!(
        newer.to_string().contains("made by a newer version"),
        "{newer}"
    );
    other.index_digest.0[0] ^= 1;
    let (object, what) = damage(place.check("b", &other));
    assert!(object == "b.index.zst" && what.contains("digest"), "{what}");
}
