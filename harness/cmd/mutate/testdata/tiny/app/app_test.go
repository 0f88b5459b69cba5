package main

import "testing"

func helper() {}

func TestNothing(t *testing.T) { helper() }
