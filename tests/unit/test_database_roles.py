from dermabatch.database_roles import LOGIN_ROLES, role_statements


def test_every_role_is_made_without_any_right_above_its_grants():
    statements = role_statements(dict.fromkeys(LOGIN_ROLES, "secret"))

    for role in LOGIN_ROLES:
        alter = next(statement for statement in statements if statement.startswith(f"ALTER ROLE {role} "))
        assert "NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS" in alter


def test_a_quote_in_a_password_stays_inside_the_password():
    statements = role_statements(dict.fromkeys(LOGIN_ROLES, "it's; DROP ROLE postgres; --"))

    assert all("'it''s; DROP ROLE postgres; --'" in alter for alter in statements[1::2])
