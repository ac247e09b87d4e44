use super::*;

type TestResult = Result<(), Box<dyn std::error::Error>>;

fn headers(entries: &[(&str, &str)]) -> Result<HeaderMap, Box<dyn std::error::Error>> {
    let mut headers = HeaderMap::new();
    for (name, value) in entries {
        headers.insert(name.parse::<HeaderName>()?, value.parse()?);
    }
    Ok(headers)
}

/// How a delivery is authenticated by this token; the body arrives in two parts.
fn examine(token: &str, entries: &[(&str, &str)], body: &str) -> Result<Option<Scheme>, Box<dyn std::error::Error>> {
    let stand_in = Token::read(b"nobody knows this one")?;
    let token = Token::read(token.as_bytes())?;
    let mut examination = Examination::begin(&headers(entries)?, Some(&token), &stand_in);
    let (first, second) = body.split_at(body.len() / 2);
    examination.update(first.as_bytes());
    examination.update(second.as_bytes());
    Ok(examination.end())
}

const SECRET: &str = "It's a Secret to Everybody";
const HELLO: &str = "Hello, World!";
const HELLO_SIGNED: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

#[test]
fn githubs_own_example_is_authentic_and_nothing_beside_it_is() -> TestResult {
    let github = format!("sha256={HELLO_SIGNED}");
    let signed = [("x-hub-signature-256", github.as_str())];
    assert_eq!(examine(SECRET, &signed, HELLO)?, Some(Scheme::Signature));
    assert_eq!(examine(SECRET, &signed, "Hello, World?")?, None, "another body");
    assert_eq!(
        examine("It's a Secret to Somebody", &signed, HELLO)?,
        None,
        "another token"
    );
    for forged in ["", "sha256=", "sha1=757107", HELLO_SIGNED, &github[..70], "sha256=zz"] {
        let claimed = [("x-hub-signature-256", forged)];
        assert_eq!(examine(SECRET, &claimed, HELLO)?, None, "{forged}");
    }
    Ok(())
}

#[test]
fn gitea_and_forgejo_sign_the_body_without_a_prefix() -> TestResult {
    for name in ["x-gitea-signature", "x-forgejo-signature"] {
        let signed = [(name, HELLO_SIGNED)];
        assert_eq!(examine(SECRET, &signed, HELLO)?, Some(Scheme::Signature), "{name}");
        assert_eq!(examine(SECRET, &signed, "Hello")?, None, "{name}");
    }
    Ok(())
}

/// The example of the Standard Webhooks specification, by which GitLab signs.
#[test]
fn gitlabs_signing_token_signs_id_time_and_body() -> TestResult {
    let token = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let body = r#"{"test": 2432232314}"#;
    let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    let several = format!("v1,AAAA v2,x {signature}");
    // Each one that is claimed costs a comparison: those beyond the fourth are not looked at.
    let late = format!("v1,AAAA v1,AAAA v1,AAAA v1,AAAA {signature}");
    let with = |id, time, signature| {
        [
            ("webhook-id", id),
            ("webhook-timestamp", time),
            ("webhook-signature", signature),
        ]
    };
    let (id, time) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330");
    assert_eq!(examine(token, &with(id, time, &late), body)?, None);
    for signature in [signature, &several] {
        let passes = examine(token, &with(id, time, signature), body)?;
        assert_eq!(passes, Some(Scheme::StandardWebhook), "{signature}");
    }
    assert_eq!(examine(token, &with("msg_x", time, signature), body)?, None);
    assert_eq!(examine(token, &with(id, "1614265331", signature), body)?, None);
    assert_eq!(examine(token, &with(id, time, signature), "{}")?, None);
    Ok(())
}

#[test]
fn a_token_is_enough_where_the_server_sends_it() -> TestResult {
    let token = "a-token-that-nobody-guesses";
    assert_eq!(
        examine(token, &[("x-gitlab-token", token)], "")?,
        Some(Scheme::GitlabToken)
    );
    for value in [
        "Bearer a-token-that-nobody-guesses",
        "bearer  a-token-that-nobody-guesses",
    ] {
        assert_eq!(examine(token, &[("authorization", value)], "")?, Some(Scheme::Bearer));
    }
    for value in ["", "Bearer", "Bearer ", "Basic a-token-that-nobody-guesses", token] {
        assert_eq!(examine(token, &[("authorization", value)], "")?, None, "{value}");
    }
    for value in ["", "a-token-that-nobody-guesse", "a-token-that-nobody-guesses2"] {
        assert_eq!(examine(token, &[("x-gitlab-token", value)], "")?, None, "{value}");
    }
    assert_eq!(examine(token, &[], "")?, None);
    Ok(())
}

#[test]
fn a_webhook_of_gitlab_with_both_is_authenticated_by_the_one_that_the_secret_has() -> TestResult {
    let both = [
        ("x-gitlab-token", "a-token-that-nobody-guesses"),
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    ];
    let body = r#"{"test": 2432232314}"#;
    let signing = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    assert_eq!(examine(signing, &both, body)?, Some(Scheme::StandardWebhook));
    assert_eq!(
        examine("a-token-that-nobody-guesses", &both, body)?,
        Some(Scheme::GitlabToken)
    );
    Ok(())
}

#[test]
fn a_bad_signature_is_not_made_good_by_a_token() -> TestResult {
    let both = [("x-hub-signature-256", "sha256=00"), ("x-gitlab-token", SECRET)];
    assert_eq!(examine(SECRET, &both, HELLO)?, None);
    Ok(())
}

#[test]
fn without_a_token_nothing_passes_not_even_what_stands_in_for_it() -> TestResult {
    let stand_in = Token::read(SECRET.as_bytes())?;
    let signed = format!("sha256={HELLO_SIGNED}");
    for entries in [[("x-hub-signature-256", signed.as_str())], [("x-gitlab-token", SECRET)]] {
        let mut examination = Examination::begin(&headers(&entries)?, None, &stand_in);
        examination.update(HELLO.as_bytes());
        assert_eq!(examination.end(), None);
    }
    Ok(())
}

#[test]
fn a_token_that_could_be_guessed_or_is_none_is_not_taken() {
    let read = |entry: &[u8]| Token::read(entry).err();
    assert_eq!(read(b"a-token-that-nobody-guesses\n"), None);
    assert_eq!(read(b""), Some(TokenError::TooShort));
    assert_eq!(read(b"fifteen bytes!!\n"), Some(TokenError::TooShort));
    // What signs is what counts, without the words before it.
    assert_eq!(read(b"whsec_MDEyMzQ1Ng=="), Some(TokenError::TooShort));
    assert_eq!(
        read(b"sixteen\nbytes of two lines"),
        Some(TokenError::ControlCharacters)
    );
    assert_eq!(read(&[0xff; 20]), Some(TokenError::NotText));
    assert_eq!(read(b"whsec_not*base64*at*all"), Some(TokenError::NotBase64));
}
