//! The kinds of token, our own signer, and what settings get wrong.

use serde_json::json;

use super::*;
use crate::auth::{Kind, Power, Revocation, TokenId};
use crate::ident::{Role, TenantId};
use crate::units::Secret;

fn signer_settings(keys: Vec<SigningKeySettings>) -> SignerSettings {
    SignerSettings { keys, ..SignerSettings::default() }
}

fn ed_key() -> SigningKeySettings {
    let secret = generate_signing_key().expect("key");
    SigningKeySettings { secret, ..SigningKeySettings::default() }
}

fn own(signer: &Signer) -> Verifier {
    Verifier::new(TokenSettings::default(), Some(signer), metrics()).expect("settings")
}

fn acme() -> TenantId {
    TenantId::parse("acme").expect("id")
}

fn grant(role: Role) -> Grant {
    let scopes = vec!["a".to_owned(), "b".to_owned()];
    Grant { tenant: acme(), role, subject: "ann".to_owned(), scopes, lifetime: None }
}

#[test]
fn every_algorithm_verifies() {
    for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
        let pair = Pair::new(algorithm);
        let keys = vec![public_key(&pair, "k"), secret_key()];
        let verifier = verifier_of(IssuerSettings { keys, ..issuer() });
        for token in [
            pair.sign(&pair.header("k"), &claims()),
            // No key named, and only one that fits.
            pair.sign(&json!({ "alg": algorithm.as_str() }), &claims()),
            hs256(SECRET.as_bytes(), &plain_header(), &claims()),
        ] {
            let identity = verify(&verifier, &token).expect("accepted");
            assert_eq!(identity.tenant(), &acme());
            assert_eq!((identity.role(), identity.kind()), (Role::Owner, Kind::Jwt));
            assert_eq!((identity.subject(), identity.token_id().as_str()), ("admin-1", "t-1"));
            assert_eq!(identity.expires_at(), Some(now() + Duration::from_secs(900)));
            assert_eq!(identity.scopes().collect::<Vec<_>>(), ["db:connect", "db:copy"]);
        }
        let other = Pair::new(algorithm);
        let forged = other.sign(&pair.header("k"), &claims());
        refused(&verifier, forged.as_bytes(), "signature");
    }
}

#[test]
fn our_own_tokens_come_back_as_they_went() {
    for key in [
        ed_key(),
        SigningKeySettings {
            kid: "old".to_owned(),
            algorithm: Algorithm::Hs256,
            secret: SECRET.into(),
            file: None,
        },
    ] {
        let signer = Signer::new(signer_settings(vec![key])).expect("signer");
        let verifier = own(&signer);
        for role in [Role::Readonly, Role::App, Role::Owner] {
            let minted = signer.access(&grant(role), now()).expect("minted");
            assert_eq!(minted.expires_at, now() + Duration::from_secs(900));
            assert!(minted.token.expose().len() < 1_024, "tokens stay short");
            let identity = verify(&verifier, minted.token.expose()).expect("accepted");
            assert_eq!((identity.role(), identity.tenant()), (role, &acme()));
            assert_eq!(identity.token_id(), &minted.id);
            assert_eq!(identity.issued_at(), Some(now()));
            assert!(identity.has_scope("b"));
        }
        assert!(signer.access(&grant(Role::Sidecar), now()).is_err());
    }
}

#[test]
fn a_kind_never_passes_for_another() {
    let signer = Signer::new(signer_settings(vec![ed_key()])).expect("signer");
    let verifier = own(&signer);
    let tenant = signer.access(&grant(Role::Owner), now()).expect("minted").token;
    let operator = signer.operator(Power::Admin, "root", None, now()).expect("minted").token;
    let sidecar = signer.sidecar(&acme(), now()).expect("minted").token;
    let at = |token: &Secret, audience| {
        verifier.verify(token.expose().as_bytes(), now(), audience).map(|id| id.role())
    };
    let as_operator = |token: &Secret| verifier.verify_operator(token.expose().as_bytes(), now());

    assert_eq!(at(&tenant, Audience::Tenant).expect("tenant"), Role::Owner);
    assert_eq!(at(&sidecar, Audience::Sidecar).expect("sidecar"), Role::Sidecar);
    let power = as_operator(&operator).expect("operator");
    assert_eq!((power.power(), power.subject()), (Power::Admin, "root"));

    for wrong in [
        at(&tenant, Audience::Sidecar).expect_err("tenant inside"),
        at(&sidecar, Audience::Tenant).expect_err("sidecar from outside"),
        at(&operator, Audience::Tenant).expect_err("operator as tenant"),
        at(&operator, Audience::Sidecar).expect_err("operator inside"),
        as_operator(&tenant).expect_err("tenant as operator"),
        as_operator(&sidecar).expect_err("sidecar as operator"),
    ] {
        assert_eq!(wrong.state(), SqlState::INVALID_AUTHORIZATION, "{wrong:?}");
    }

    // Another process has another sidecar key, even with the same signing keys.
    let key = ed_key();
    let one = Signer::new(signer_settings(vec![key.clone()])).expect("signer");
    let two = own(&Signer::new(signer_settings(vec![key])).expect("signer"));
    let token = one.sidecar(&acme(), now()).expect("minted").token;
    assert!(two.verify(token.expose().as_bytes(), now(), Audience::Sidecar).is_err());
}

#[test]
fn our_own_issuer_insists_on_the_type() {
    // Somebody got hold of an HS256 signing key's other use, or of a token we never minted.
    let key = SigningKeySettings {
        kid: "k".to_owned(),
        algorithm: Algorithm::Hs256,
        secret: SECRET.into(),
        file: None,
    };
    let verifier = own(&Signer::new(signer_settings(vec![key])).expect("signer"));
    let ours = claims_with(json!({ "iss": "pgusher", "aud": "pgusher" }));
    let mint = |typ: &str, claims: &serde_json::Value| {
        hs256(SECRET.as_bytes(), &json!({ "alg": "HS256", "typ": typ, "kid": "k" }), claims)
    };
    verify(&verifier, &mint("tdb+jwt", &ours)).expect("the right type");
    for typ in ["JWT", "at+jwt", "op+jwt", "side+jwt", ""] {
        refused(&verifier, mint(typ, &ours).as_bytes(), "by its type");
    }
    let sidecar = claims_with(json!({ "iss": "pgusher", "aud": "pgusher:sidecar" }));
    refused(&verifier, mint("side+jwt", &sidecar).as_bytes(), "another audience");
    let sidecar = claims_with(json!({ "iss": "pgusher:sidecar", "aud": "pgusher:sidecar" }));
    refused(&verifier, mint("side+jwt", &sidecar).as_bytes(), "key id is unknown");
}

#[test]
fn operators_of_a_foreign_issuer_need_its_operator_audience() {
    let verifier = verifier();
    let mint = |change| hs256(SECRET.as_bytes(), &plain_header(), &claims_with(change));
    let verify = |token: &str| verifier.verify_operator(token.as_bytes(), now());
    let good = mint(json!({ "aud": "ops", "operator": "stats" }));
    assert_eq!(verify(&good).expect("operator").power(), Power::Stats);
    for (change, state) in [
        (json!({ "aud": "tenant-db", "operator": "admin" }), SqlState::INVALID_AUTHORIZATION),
        (json!({ "aud": "ops" }), SqlState::INVALID_PASSWORD),
        (json!({ "aud": "ops", "operator": "root" }), SqlState::INVALID_PASSWORD),
    ] {
        assert_eq!(verify(&mint(change)).expect_err("refused").state(), state);
    }
}

#[test]
fn roles_default_map_and_refuse() {
    let mint =
        |role| hs256(SECRET.as_bytes(), &plain_header(), &claims_with(json!({ "role": role })));
    let roles = [("PRIMARY".to_owned(), "owner".to_owned())].into();
    let keys = vec![secret_key()];
    let mapped = verifier_of(IssuerSettings { keys, roles, ..issuer() });
    let role = |token: &str| verify(&mapped, token).map(|id| id.role());
    assert_eq!(role(&mint(json!(null))).expect("default"), Role::App);
    assert_eq!(role(&mint(json!("PRIMARY"))).expect("mapped"), Role::Owner);
    assert_eq!(role(&mint(json!("readonly"))).expect("plain"), Role::Readonly);
    let strict = verifier_of(IssuerSettings {
        keys: vec![secret_key()],
        default_role: String::new(),
        ..issuer()
    });
    refused(&strict, mint(json!(null)).as_bytes(), "`role` is missing");
}

#[test]
fn revocation_stops_remembered_tokens_too() {
    let signer = Signer::new(signer_settings(vec![ed_key()])).expect("signer");
    let verifier = own(&signer);
    let minted = signer.access(&grant(Role::App), now()).expect("minted");
    let other = signer.access(&grant(Role::App), now()).expect("minted");
    let token = minted.token.expose();
    verify(&verifier, token).expect("welcome");
    let revoked = Revocation::Token { id: minted.id.clone(), tenant: None };
    verifier.revocations().add(revoked, minted.expires_at, now());
    refused(&verifier, token.as_bytes(), "revoked");
    verify(&verifier, other.token.expose()).expect("another token of the same admin");
    let tenant = Revocation::Tenant { tenant: acme(), issued_until: now() };
    verifier.revocations().add(tenant, minted.expires_at, now());
    refused(&verifier, other.token.expose().as_bytes(), "revoked");
    let later = signer.access(&grant(Role::App), now() + Duration::from_secs(1));
    verify(&verifier, later.expect("minted").token.expose()).expect("issued afterwards");

    let operator = signer.operator(Power::Stats, "o", None, now()).expect("minted");
    let present = || verifier.verify_operator(operator.token.expose().as_bytes(), now());
    present().expect("welcome");
    let revoked = Revocation::Token { id: operator.id.clone(), tenant: None };
    verifier.revocations().add(revoked, operator.expires_at, now());
    assert_eq!(present().expect_err("revoked").state(), SqlState::INVALID_PASSWORD);
}

#[test]
fn a_token_without_jti_is_named_by_the_digest_of_what_was_signed() {
    let verifier = verifier();
    let mint = |sub| {
        let claims = claims_with(json!({ "jti": null, "sub": sub }));
        hs256(SECRET.as_bytes(), &plain_header(), &claims)
    };
    let id = |token: &str| verify(&verifier, token).expect("ok").token_id().clone();
    assert_eq!(id(&mint("a")), id(&mint("a")));
    assert_ne!(id(&mint("a")), id(&mint("b")));
    assert_ne!(id(&mint("a")), TokenId::new(""));
    let token = mint("a");
    let (signed, _) = token.rsplit_once('.').expect("a signature");
    assert_eq!(id(&token), TokenId::of_signed(signed.as_bytes()));
}

#[test]
fn signing_keys_change_without_stopping_anyone() {
    let (old, new) = (ed_key(), ed_key());
    let before = Signer::new(signer_settings(vec![old.clone()])).expect("signer");
    let after = Signer::new(signer_settings(vec![new, old])).expect("signer");
    let verifier = own(&after);
    let token = before.access(&grant(Role::App), now()).expect("minted").token;
    verify(&verifier, token.expose()).expect("the old key still verifies");
    let token = after.access(&grant(Role::App), now()).expect("minted").token;
    verify(&verifier, token.expose()).expect("the new key signs");
    assert!(verify(&own(&before), token.expose()).is_err(), "and is not known before");
    let kids = |signer: &Signer| signer.jwks()["keys"].as_array().expect("keys").len();
    assert_eq!((kids(&before), kids(&after)), (1, 2));
    assert!(!format!("{after:?}{}", after.jwks()).contains("PRIVATE"));
    assert!(after.jwks()["keys"][0].get("d").is_none(), "public halves only");
}

#[test]
fn settings_tell_all_their_problems_at_once() {
    let bad = IssuerSettings {
        issuer: String::new(),
        audiences: vec!["x".into()],
        operator_audiences: vec!["x".into()],
        keys: vec![
            KeySettings { secret: "short".into(), ..secret_key() },
            KeySettings { algorithm: None, ..secret_key() },
            KeySettings { algorithm: Some(Algorithm::Rs256), ..KeySettings::default() },
            KeySettings { public_key: "nonsense".into(), secret: "".into(), ..public_rs() },
            KeySettings {
                file: Some("/nonexistent/key".into()),
                secret: "".into(),
                ..secret_key()
            },
        ],
        default_role: "sidecar".into(),
        algorithms: vec![Algorithm::Hs256],
        jwks_url: "http://keys.example/jwks".into(),
        ..IssuerSettings::default()
    };
    let settings = TokenSettings { issuers: vec![bad], ..TokenSettings::default() };
    let problems = Verifier::new(settings, None, metrics()).expect_err("all wrong").join("\n");
    for part in [
        "`issuer` is missing",
        "of tenants and of operators",
        "keys[0]: an HS256 secret has 32 bytes or more",
        "keys[1]: `algorithm` is missing",
        "keys[2]: the key is missing",
        "keys[3]: expected a PEM",
        "keys[4]: /nonexistent/key",
        "role `sidecar`",
        "HS256 is not possible",
        "https only",
    ] {
        assert!(problems.contains(part), "`{part}` is not in:\n{problems}");
    }
    let none = Signer::new(SignerSettings::default()).expect_err("no key");
    assert!(none[0].contains("no key to sign with"), "{none:?}");
    let weak = SigningKeySettings {
        kid: "w".into(),
        algorithm: Algorithm::Hs256,
        secret: "short".into(),
        file: None,
    };
    assert!(Signer::new(signer_settings(vec![weak])).is_err());
}

fn public_rs() -> KeySettings {
    KeySettings { algorithm: Some(Algorithm::Rs256), ..KeySettings::default() }
}

#[test]
fn keys_of_the_wrong_kind_or_strength_are_refused() {
    let pair = |algorithm: &'static rcgen::SignatureAlgorithm| {
        rcgen::KeyPair::generate_for(algorithm).expect("key")
    };
    let p256 = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
    let p384 = pair(&rcgen::PKCS_ECDSA_P384_SHA384);
    let ed = pair(&rcgen::PKCS_ED25519);
    for (algorithm, pem) in [
        (Algorithm::Es256, p384.public_key_pem()),
        (Algorithm::Es256, ed.public_key_pem()),
        (Algorithm::EdDsa, p256.public_key_pem()),
        (Algorithm::Rs256, p256.public_key_pem()),
        (Algorithm::Es256, p256.serialize_pem()),
        (Algorithm::Hs256, p256.public_key_pem()),
    ] {
        assert!(keyring::VerifyKey::pem(algorithm, &pem).is_err(), "{algorithm} {pem}");
    }
    // RSA with 1024 bits.
    let weak = json!({ "keys": [{
        "kty": "RSA", "kid": "w", "e": "AQAB", "n": URL_SAFE_NO_PAD.encode([0xb3_u8; 128]),
    }] });
    let all = [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa];
    assert!(super::super::jwks::parse(weak.to_string().as_bytes(), &all).is_err());
}
