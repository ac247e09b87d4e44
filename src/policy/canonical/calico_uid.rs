//! Calico gives an object other uids in `projectcalico.org/v3` than in `crd.projectcalico.org/v1`, each computed from the
//! other.

/// The uid in the other group: the bits of every byte reversed, but those of the bytes that hold the UUID's version and
/// variant. Applied twice it gives the first again. None where the text is no UUID.
pub(super) fn convert(uid: &str) -> Option<String> {
    let mut bytes = parse(uid)?;
    for (index, byte) in bytes.iter_mut().enumerate() {
        if index != 6 && index != 8 {
            *byte = byte.reverse_bits();
        }
    }
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for digit in [byte >> 4, byte & 0xf] {
            text.extend(char::from_digit(u32::from(digit), 16));
        }
    }
    Some(text)
}

fn parse(uid: &str) -> Option<[u8; 16]> {
    let groups: Vec<&str> = uid.split('-').collect();
    if groups.iter().map(|group| group.len()).ne([8, 4, 4, 4, 12]) || !uid.is_ascii() {
        return None;
    }
    let hex = groups.concat();
    let mut bytes = [0; 16];
    for (index, byte) in bytes.iter_mut().enumerate() {
        let pair = hex.get(index * 2..index * 2 + 2)?;
        if !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::convert;

    #[test]
    fn a_uid_is_converted_as_calico_does() {
        let (v3, crd) = (
            "776b95b1-1d49-432b-948f-7c04418460a1",
            "eed6a98d-b892-43d4-94f1-3e2082210685",
        );
        assert_eq!(convert(v3).as_deref(), Some(crd));
        assert_eq!(convert(crd).as_deref(), Some(v3));
        assert_eq!(convert("+1+1+1+1-1d49-432b-948f-7c04418460a1"), None);
        assert_eq!(convert("owner"), None);
    }
}
