"""OpenQASM 3 text as a syntax tree, by the reference parser of the language, `openqasm3`.

`openqasm3.parse` prints to the console what its lexer cannot read, says nothing of the place of
other mistakes and recurses once for each term of a sum. So its lexer, parser and visitor are put
together here.
"""

from __future__ import annotations

import re
from typing import Any

from antlr4 import CommonTokenStream, InputStream
from antlr4.error.ErrorListener import ErrorListener
from openqasm3 import ast
from openqasm3.parser import (  # type: ignore[attr-defined]
    QASM3ParsingError,
    QASMNodeVisitor,
    add_span,
    get_span,
    qasm3Lexer,
    qasm3Parser,
)

from qnn_jax.bridge.qasm_limits import MAX_GATES, MAX_NESTING, Wrong, check_size

#: A string, a comment, the beginning of one that has no end, a word or another character.
_MARK = re.compile(r'"[^"\n]*"|//[^\n]*|/\*.*?\*/|/\*|\w+|\S', re.DOTALL)


def parsed(text: str) -> ast.Program:
    """The syntax tree of a whole text."""
    _check_nesting(text)
    lexer = qasm3Lexer(InputStream(text))
    tokens = CommonTokenStream(lexer)
    parser = qasm3Parser(tokens)
    for part in (lexer, parser):
        part.removeErrorListeners()
        part.addErrorListener(_Refuse())
    try:
        tokens.fill()
        if len(tokens.tokens) == 1:  # the end; the visitor wants a beginning
            return ast.Program([])
        return _Visitor().visitProgram(parser.program())  # type: ignore[no-untyped-call]
    except Wrong:
        raise
    except QASM3ParsingError as error:  # "L3:C0: pragmas must be global"
        raise Wrong(str(error).replace("L", "line ", 1).replace(":C", ", column ", 1)) from None
    except RecursionError:
        raise Wrong("its statements and expressions nest too deeply") from None
    except Exception as error:  # what the parser's visitor raises for texts that its grammar allows
        raise Wrong(f"the parser fails with {type(error).__name__}: {error}") from None


class _Refuse(ErrorListener):  # type: ignore[misc]
    """Stops at the first mistake; antlr4's own listener would print it and go on."""

    def syntaxError(  # noqa: N802
        self, recognizer: Any, token: Any, line: int, column: int, message: str, error: Any
    ) -> None:
        if token is None:  # the lexer's: "token recognition error at: '…'"
            found = repr(message.partition(" at: ")[2][1:-1])
        else:
            found = "end of the text" if token.type == token.EOF else repr(token.text)
        raise Wrong(f"line {line}, column {column} has an unexpected {found}")


def _check_nesting(text: str) -> None:
    """Refuse brackets and signs that nest too deeply, and comments without an end.

    In a comment without an end, the lexer would search the whole text again at every `/*`.
    """
    # Half a million statements take the parser more than a minute.
    check_size("statements", text.count(";"), MAX_GATES)
    depth = signs = 0
    for found in _MARK.finditer(text):
        mark = found[0]
        depth += (mark in ("(", "[", "{")) - (mark in (")", "]", "}"))
        signs = signs + 1 if mark in ("-", "~", "!") else 0
        if mark == "/*" or max(depth, signs) > MAX_NESTING:
            line = text.count("\n", 0, found.start()) + 1
            raise Wrong(
                f"line {line} begins a comment that has no end"
                if mark == "/*"
                else f"line {line} has more than {MAX_NESTING} brackets or signs within each other"
            )


class _Visitor(QASMNodeVisitor):
    """Walks the left sides of sums and products in a loop, so a sum may have any length."""

    def _visit_binary_expression(self, ctx: Any) -> ast.Expression:
        chain = [ctx]
        while type(left := chain[-1].expression(0)) in _CHAINS:
            chain.append(left)
        node: ast.Expression = self.visit(chain[-1].expression(0))
        for part in reversed(chain):
            operator = ast.BinaryOperator[part.op.text]
            right = self.visit(part.expression(1))
            node = add_span(ast.BinaryExpression(operator, node, right), get_span(part))
        return node

    visitAdditiveExpression = _visit_binary_expression  # noqa: N815
    visitMultiplicativeExpression = _visit_binary_expression  # noqa: N815


_CHAINS = (qasm3Parser.AdditiveExpressionContext, qasm3Parser.MultiplicativeExpressionContext)
