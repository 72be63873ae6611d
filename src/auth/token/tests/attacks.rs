//! What attackers send, and what must be refused by design.

use serde_json::{Value, json};

use super::*;

fn minted(change: Value) -> String {
    hs256(SECRET.as_bytes(), &plain_header(), &claims_with(change))
}

fn with_header(header: &Value) -> String {
    hs256(SECRET.as_bytes(), header, &claims())
}

#[test]
fn a_public_key_is_never_an_hmac_secret() {
    let pair = Pair::new(Algorithm::Rs256);
    let verifier = verifier_of(IssuerSettings { keys: vec![public_key(&pair, "k")], ..issuer() });
    verify(&verifier, &pair.sign(&pair.header("k"), &claims())).expect("the honest token");
    // Signed with the public key's text as HMAC secret, in every dress the attack has.
    for secret in [pair.public.as_bytes(), pair.public.trim().as_bytes()] {
        let header = json!({ "alg": "HS256", "typ": "JWT", "kid": "k" });
        refused(&verifier, hs256(secret, &header, &claims()).as_bytes(), "algorithm");
        let header = json!({ "alg": "HS256", "typ": "JWT" });
        refused(&verifier, hs256(secret, &header, &claims()).as_bytes(), "key id is unknown");
    }
    // And an operator can not make that mistake either.
    let pem = KeySettings { secret: pair.public.as_str().into(), ..secret_key() };
    let settings = TokenSettings {
        issuers: vec![IssuerSettings { keys: vec![pem], ..issuer() }],
        ..TokenSettings::default()
    };
    let problems = Verifier::new(settings, None, metrics()).expect_err("a PEM as a secret");
    assert!(problems[0].contains("not a PEM"), "{problems:?}");
}

#[test]
fn algorithms_are_the_keys_and_there_is_no_none() {
    let verifier = verifier();
    for alg in ["none", "None", "NONE", "", "HS384", "HS512", "PS256", "hs256"] {
        let header = json!({ "alg": alg, "typ": "JWT" });
        refused(&verifier, with_header(&header).as_bytes(), "algorithm");
        // Without signature at all.
        let unsigned = format!("{}.", message(&header, &claims()));
        refused(&verifier, unsigned.as_bytes(), "malformed");
    }
    let missing = json!({ "typ": "JWT" });
    refused(&verifier, with_header(&missing).as_bytes(), "header");
    // A token of one issuer's algorithm by another key type.
    let pair = Pair::new(Algorithm::EdDsa);
    let header = json!({ "alg": "EdDSA", "typ": "JWT" });
    refused(&verifier, pair.sign(&header, &claims()).as_bytes(), "key id is unknown");
}

#[test]
fn a_token_does_not_bring_its_own_key() {
    let pair = Pair::new(Algorithm::Es256);
    let ours = Pair::new(Algorithm::Es256);
    let verifier = verifier_of(IssuerSettings { keys: vec![public_key(&ours, "k")], ..issuer() });
    let own = |kid: Value| {
        json!({
            "alg": "ES256", "typ": "JWT", "kid": kid, "jwk": pair.jwk("k"),
            "jku": "http://127.0.0.1:1/keys", "x5u": "http://127.0.0.1:1/cert",
            "x5c": ["AAAA"],
        })
    };
    refused(&verifier, pair.sign(&own("k".into()), &claims()).as_bytes(), "signature");
    let long = "k".repeat(600);
    for kid in ["../../etc/passwd", "k' OR '1'='1", "\u{0}", "", long.as_str()] {
        let fault = verify(&verifier, &pair.sign(&own(kid.into()), &claims()));
        assert_eq!(fault.expect_err(kid).state(), SqlState::INVALID_PASSWORD);
    }
    for kid in [json!(1), json!(["k"]), json!({"a": 1})] {
        refused(&verifier, pair.sign(&own(kid), &claims()).as_bytes(), "header");
    }
}

#[test]
fn critical_extensions_and_encodings_are_refused() {
    let verifier = verifier();
    for extra in [
        json!({ "crit": ["exp"] }),
        json!({ "crit": [] }),
        json!({ "b64": false }),
        json!({ "zip": "DEF" }),
        json!({ "enc": "A128GCM" }),
    ] {
        let mut header = plain_header();
        header.as_object_mut().expect("map").extend(extra.as_object().expect("map").clone());
        refused(&verifier, with_header(&header).as_bytes(), "header demands");
    }
    for typ in ["refresh+jwt", "id+jwt", "op+jwt", "side+jwt", "logout+jwt", "secevent+jwt"] {
        let header = json!({ "alg": "HS256", "typ": typ });
        refused(&verifier, with_header(&header).as_bytes(), "by its type");
    }
    for typ in ["JWT", "jwt", "at+jwt", "application/at+jwt", "tdb+jwt"] {
        let header = json!({ "alg": "HS256", "typ": typ });
        verify(&verifier, &with_header(&header)).expect(typ);
    }
    verify(&verifier, &with_header(&json!({ "alg": "HS256" }))).expect("typ may be absent");
}

#[test]
fn time_is_checked_with_leeway_and_also_on_remembered_tokens() {
    let verifier = verifier();
    refused(&verifier, minted(json!({ "exp": NOW - 31 })).as_bytes(), "expired");
    refused(&verifier, minted(json!({ "exp": NOW - 30 })).as_bytes(), "expired");
    verify(&verifier, &minted(json!({ "exp": NOW - 29 }))).expect("within the leeway");
    refused(&verifier, minted(json!({ "nbf": NOW + 31 })).as_bytes(), "not valid yet");
    verify(&verifier, &minted(json!({ "nbf": NOW + 30 }))).expect("within the leeway");
    refused(&verifier, minted(json!({ "exp": null })).as_bytes(), "`exp` is missing");
    for exp in [json!(-1), json!(1e300), json!(u64::MAX), json!(253_402_300_800_u64)] {
        refused(&verifier, minted(json!({ "exp": exp })).as_bytes(), "`exp` is not usable");
    }
    for exp in [json!("1700000900"), json!([NOW + 900]), json!({}), json!(true)] {
        refused(&verifier, minted(json!({ "exp": exp })).as_bytes(), "malformed");
    }
    verify(&verifier, &minted(json!({ "exp": 1_700_000_900.5 }))).expect("half seconds are legal");

    let token = minted(json!({ "exp": NOW + 10, "nbf": NOW }));
    let at = |offset: u64| {
        let then = now() + Duration::from_secs(offset);
        verifier.verify(token.as_bytes(), then, Audience::Tenant)
    };
    at(0).expect("fresh");
    at(39).expect("remembered");
    assert!(at(40).is_err(), "remembered and expired");
    let before = now() - Duration::from_secs(31);
    assert!(verifier.verify(token.as_bytes(), before, Audience::Tenant).is_err());
}

#[test]
fn issuer_and_audience_are_required_and_exact() {
    let verifier = verifier();
    refused(&verifier, minted(json!({ "iss": null })).as_bytes(), "`iss` is missing");
    refused(&verifier, minted(json!({ "aud": null })).as_bytes(), "`aud` is missing");
    for iss in ["https://issuer.example/", "https://ISSUER.example", "", "pgusher"] {
        refused(&verifier, minted(json!({ "iss": iss })).as_bytes(), "issuer is unknown");
    }
    for aud in [json!("tenant-db "), json!("Tenant-db"), json!(""), json!([]), json!(["x", "y"])] {
        refused(&verifier, minted(json!({ "aud": aud })).as_bytes(), "another audience");
    }
    for aud in [json!(1), json!([1]), json!({ "tenant-db": true }), json!(["tenant-db", null])] {
        refused(&verifier, minted(json!({ "aud": aud })).as_bytes(), "malformed");
    }
    verify(&verifier, &minted(json!({ "aud": ["x", "tenant-db"] }))).expect("one of several");
    // For tenants and for operators at once: neither.
    refused(&verifier, minted(json!({ "aud": ["ops", "tenant-db"] })).as_bytes(), "audience");
    refused(&verifier, hs256(b"wrong", &plain_header(), &claims()).as_bytes(), "signature");
}

#[test]
fn one_tenant_by_one_of_two_names() {
    let verifier = verifier();
    let tenant = |change| verify(&verifier, &minted(change)).map(|id| id.tenant().to_string());
    assert_eq!(tenant(json!({})).expect("new name"), "acme");
    let legacy = json!({ "tenantId": null, "churchId": "grace" });
    assert_eq!(tenant(legacy.clone()).expect("old name"), "grace");
    assert_eq!(tenant(json!({ "churchId": "acme" })).expect("both alike"), "acme");
    refused(&verifier, minted(json!({ "churchId": "grace" })).as_bytes(), "two tenants");
    refused(&verifier, minted(json!({ "churchId": "ACME" })).as_bytes(), "two tenants");
    refused(&verifier, minted(json!({ "tenantId": null })).as_bytes(), "`tenantId` is missing");
    for id in ["", "Acme", "a-b", "a;drop", "a\u{0}", "ａ", &"a".repeat(57), "../acme"] {
        refused(&verifier, minted(json!({ "tenantId": id })).as_bytes(), "`tenantId` is not");
    }
    refused(&verifier, minted(json!({ "tenantId": 7 })).as_bytes(), "malformed");
    // Where the old name is switched off it is not read, but still must not contradict.
    let strict = verifier_of(IssuerSettings {
        keys: vec![secret_key()],
        legacy_tenant_claim: false,
        ..issuer()
    });
    refused(&strict, minted(legacy).as_bytes(), "`tenantId` is missing");
    refused(&strict, minted(json!({ "churchId": "grace" })).as_bytes(), "two tenants");
}

#[test]
fn duplicate_claims_are_refused() {
    let verifier = verifier();
    let duplicated = claims()
        .to_string()
        .replace(r#""tenantId":"acme""#, r#""tenantId":"acme","tenantId":"grace""#);
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let message = format!("{}.{}", part(&plain_header().to_string()), part(&duplicated));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = part_of(hmac::sign(&key, message.as_bytes()).as_ref());
    refused(&verifier, format!("{message}.{signature}").as_bytes(), "malformed");
}

fn part_of(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[test]
fn no_token_makes_a_sidecar() {
    let verifier = verifier();
    for role in ["sidecar", "Owner", "superuser", "postgres", ""] {
        refused(&verifier, minted(json!({ "role": role })).as_bytes(), "`role`");
    }
    let token = minted(json!({}));
    let fault = verifier.verify(token.as_bytes(), now(), Audience::Sidecar);
    assert_eq!(fault.expect_err("not from inside").state(), SqlState::INVALID_AUTHORIZATION);
    // Not even by a role map.
    let roles = [("boss".to_owned(), "sidecar".to_owned())].into();
    let settings = TokenSettings {
        issuers: vec![IssuerSettings { keys: vec![secret_key()], roles, ..issuer() }],
        ..TokenSettings::default()
    };
    assert!(Verifier::new(settings, None, metrics()).is_err());
}

#[test]
fn refresh_and_identity_tokens_open_nothing() {
    let verifier = verifier();
    for mark in [
        json!({ "typ": "Refresh" }),
        json!({ "typ": "Offline" }),
        json!({ "typ": "ID" }),
        json!({ "type": "refresh" }),
        json!({ "type": "password_reset" }),
        json!({ "token_use": "id" }),
        json!({ "token_type": "refresh_token" }),
    ] {
        refused(&verifier, minted(mark).as_bytes(), "by its type");
    }
    for mark in [json!({ "typ": "Bearer" }), json!({ "type": "access" })] {
        verify(&verifier, &minted(mark)).expect("an access token");
    }
    // A refresh token without a mark gives itself away by its life.
    let short = verifier_of(IssuerSettings {
        keys: vec![secret_key()],
        lifetime_max: crate::units::Span::mins(60),
        ..issuer()
    });
    verify(&short, &minted(json!({}))).expect("15 minutes");
    refused(&short, minted(json!({ "exp": NOW + 604_800 })).as_bytes(), "life is longer");
    let ahead = json!({ "exp": NOW + 604_800, "iat": NOW + 604_000 });
    refused(&short, minted(ahead).as_bytes(), "life is longer");
}

#[test]
fn garbage_is_refused_in_bounded_work() {
    let verifier = verifier();
    let good = minted(json!({}));
    refused(&verifier, &vec![b'a'; (16 << 10) + 1], "longer than the limit");
    let padded = minted(json!({ "padding": "x".repeat(11_000) }));
    assert!(padded.len() < 16 << 10);
    verify(&verifier, &padded).expect("long, and within the limit");
    for bad in [
        &b""[..],
        b".",
        b"..",
        b"...",
        b"a.b.c",
        b"\xff\xfe.\xff.\xff",
        b"hunter2",
        b"eyJhbGciOiJIUzI1NiJ9.e30.",
        &[b'.'; 16_000],
    ] {
        refused(&verifier, bad, "malformed");
    }
    for changed in [
        format!("{good}."),
        format!("{good}="),
        format!(" {good}"),
        format!("{good}\n"),
        format!("Bearer {good}"),
        good.replacen('.', "..", 1),
        good.trim_end_matches(|c| c != '.').to_owned(),
    ] {
        assert!(verify(&verifier, &changed).is_err(), "{changed}");
    }
    // A deep nest is no stack overflow.
    let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
    let claims = format!(r#"{{"aud":{deep}}}"#);
    let token = format!("{}.{}.AAAA", part_of(b"{\"alg\":\"HS256\"}"), part_of(claims.as_bytes()));
    assert!(verify(&verifier, &token).is_err());
    // Every single-bit change of the last signature character and of the payload is noticed.
    let bytes = good.as_bytes();
    for at in [5, good.find('.').expect("dot") + 7, good.len() - 2] {
        let mut changed = bytes.to_vec();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let result = verifier.verify(&changed, now(), Audience::Tenant);
        assert!(result.is_err(), "byte {at}");
    }
}
