//! The text of a key that is a fraction: Go's `strconv.FormatFloat(f, 'g', -1, 32)`, in single precision, as kubectl
//! has it.

/// `1.5`, `1e+06`, `.inf`.
pub(super) fn key(number: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "kubectl loses the same digits")]
    let single = number as f32;
    if single.is_nan() {
        return ".nan".to_owned();
    }
    if single.is_infinite() {
        return if single > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    // The shortest digits that read back as the same number.
    let text = format!("{single:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..6).contains(&exponent) {
        return single.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::key;

    #[test]
    fn keys_are_written_as_go_writes_them() {
        let cases = [
            (1.5, "1.5"),
            (1e3, "1000"),
            (100_000.0, "100000"),
            (1e6, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1e300, ".inf"),
            (-0.0, "-0"),
            (16_777_217.0, "1.6777216e+07"),
        ];
        for (number, expected) in cases {
            assert_eq!(key(number), expected);
        }
    }
}
