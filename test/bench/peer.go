package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
)

// parsePeers reads name=command pairs, separated by ; or line ends.
func parsePeers(text string) ([]peer, error) {
	var peers []peer
	seen := map[string]bool{"berth": true, "distribution": true}
	entries, err := split(text, func(r rune) bool { return r == ';' || r == '\n' }, true)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		name, command, ok := strings.Cut(entry, "=")
		if name = strings.TrimSpace(name); !ok || name == "" || strings.ContainsAny(name, " \t'\"{}|") {
			return nil, fmt.Errorf("the peer %q is not name=command", entry)
		}
		if seen[name] {
			return nil, fmt.Errorf("the peer %q needs a name of its own", name)
		}
		seen[name] = true
		words, err := split(command, func(r rune) bool { return r == ' ' || r == '\t' }, false)
		if err != nil {
			return nil, fmt.Errorf("the command of the peer %q: %w", name, err)
		}
		if len(words) == 0 {
			return nil, fmt.Errorf("the peer %q has no command", name)
		}
		if !strings.Contains(command, "{port}") && !strings.Contains(command, "{addr}") {
			return nil, fmt.Errorf("the command of the peer %q has neither {port} nor {addr}, so nobody can know where it listens", name)
		}
		peers = append(peers, peer{name, words})
	}
	return peers, nil
}

// A peer is a registry that the caller has.
type peer struct {
	name  string
	words []string // of its command, with placeholders
}

// split cuts a text at separators outside of quotes. Quotes keep their content
// as it is; they stay in the parts if quoted is set. Empty parts are left out.
func split(text string, separates func(rune) bool, quoted bool) ([]string, error) {
	var (
		parts []string
		part  strings.Builder
		quote rune
		any   bool
	)
	for _, r := range text {
		switch {
		case quote == 0 && separates(r):
			if any {
				parts = append(parts, part.String())
			}
			part.Reset()
			any = false
			continue
		case quote == 0 && (r == '\'' || r == '"'), r == quote:
			if quote == 0 {
				quote = r
			} else {
				quote = 0
			}
			if quoted {
				part.WriteRune(r)
			}
		default:
			part.WriteRune(r)
		}
		any = true
	}
	if quote != 0 {
		return nil, errors.New("a quote is not closed")
	}
	if any {
		parts = append(parts, part.String())
	}
	return parts, nil
}

// fill puts the values of the placeholders into a command.
func fill(words []string, dir, addr string) ([]string, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	replace := strings.NewReplacer("{dir}", dir, "{port}", port, "{addr}", addr)
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = replace.Replace(w)
	}
	return out, nil
}

func (p peer) subject(src *source) subject {
	return subject{p.name, func(ctx context.Context, dir string) (*server, error) {
		addr, err := freeAddr()
		if err != nil {
			return nil, err
		}
		argv, err := fill(p.words, dir, addr)
		if err != nil {
			return nil, err
		}
		return startOpen(ctx, p.name, addr, argv, src)
	}}
}
