package main

import (
	"strings"
	"unicode"
)

// initialisms are the words written in capitals in Go names, by their lower-case form; a plural keeps its small s.
var initialisms = map[string]string{
	"id": "ID", "ids": "IDs", "url": "URL", "urls": "URLs", "uri": "URI", "arn": "ARN", "kms": "KMS", "ecr": "ECR",
	"aws": "AWS", "aes256": "AES256", "dsse": "DSSE",
}

// fieldName turns a name on the wire (imageIds) into the name of a Go field (ImageIDs).
func fieldName(wire string) string {
	var b strings.Builder
	for _, word := range splitWords(wire) {
		b.WriteString(goWord(word))
	}
	return b.String()
}

// constName names the constant of one enum value: ("UpstreamRegistry", "docker-hub") is UpstreamRegistryDockerHub.
func constName(typeName, value string) string {
	var b strings.Builder
	b.WriteString(typeName)
	for part := range strings.FieldsFuncSeq(value, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		if strings.ToUpper(part) == part {
			part = strings.ToLower(part)
		}
		b.WriteString(goWord(part))
	}
	return b.String()
}

// goWord capitalises one word, or all of it when it is an initialism.
func goWord(word string) string {
	if s, ok := initialisms[strings.ToLower(word)]; ok {
		return s
	}
	return strings.ToUpper(word[:1]) + word[1:]
}

// splitWords cuts a camelCase name before each capital that follows a small letter or digit.
func splitWords(name string) []string {
	var words []string
	start := 0
	for i := 1; i < len(name); i++ {
		if unicode.IsUpper(rune(name[i])) && !unicode.IsUpper(rune(name[i-1])) {
			words = append(words, name[start:i])
			start = i
		}
	}
	return append(words, name[start:])
}

// structName is the Go name of a structure shape: the requests and responses of the model become inputs and outputs,
// every other name is the model's own.
func structName(shapeName string) string {
	if s, ok := strings.CutSuffix(shapeName, "Request"); ok {
		return s + "Input"
	}
	if s, ok := strings.CutSuffix(shapeName, "Response"); ok {
		return s + "Output"
	}
	return shapeName
}
