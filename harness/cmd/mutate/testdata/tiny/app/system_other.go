//go:build !linux

package main

func onThisSystem() { println("other") }
